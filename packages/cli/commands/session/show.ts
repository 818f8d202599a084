import { showSession, type DesignSessionDetail } from '@swarm/contract/endpoints/design.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { money, plain, table, time } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { coverageText, openQuestion, questionLines } from '../../run/clarify.ts'
import { estimateLines } from '../../run/shown-build.ts'

export const sessionShow = command({
  name: 'session show',
  summary: 'Shows a design session: questions and answers, spec, plan',
  examples: [['swarm session show SES-7Q2M9XKD', 'what is asked, or planned']],
  arguments: [{ name: 'id', description: 'the design session' }],
  input: z.object({ id: z.string() }),
  async run({ id }, { settings, signal }) {
    const session = await connect(settings().config).client.call(showSession, { params: { sessionId: id } }, { signal })
    return { json: session, text: sessionLines(session).join('\n') }
  },
})

function sessionLines(session: DesignSessionDetail): string[] {
  const { clarification, plan, failure } = session
  const question = openQuestion(session)
  return [
    `${session.id}  ${plain(session.title)}`, `  state      ${session.state}${failure === null ? '' : `: ${failure.message} ${failure.remedy}`}`,
    `  spec       version ${session.specVersion}, ${session.requirements.length} requirements, since ${time(session.updatedAt)}`, `  model      ${session.modelLabel}, ${money(session.costMicroUsd)} for the design`,
    ...(clarification.coverage === null ? [] : [`  coverage   ${coverageText(clarification.coverage)}`]),
    ...clarification.questions.filter(({ answer }) => answer !== null).flatMap((each) => ['', `${each.number}. ${plain(each.question)}`, `   ${each.answeredBy ?? ''}: ${plain(each.answer ?? '')}`, ...(each.acknowledgement ? [`   ${plain(each.acknowledgement)}`] : [])]),
    ...(question === undefined ? [] : ['', ...questionLines(question), `  to answer: swarm session answer ${session.id} "…"; or, to go on with what is known: swarm session skip ${session.id}`]),
    ...(session.requirements.length === 0 ? [] : ['', ...session.requirements.map(({ id, text }) => `${id}  ${plain(text)}`)]),
    ...(plan === null ? [] : ['', table(['wave', 'ticket', 'title', 'points', 'after'], plan.tickets.map((ticket) => [ticket.wave, ticket.key, plain(ticket.title), ticket.storyPoints, ticket.dependsOn.join(', ') || '-']))]),
    ...(plan?.change ? ['', `since version ${plan.change.sinceVersion}: ${plan.change.kept.length} tickets kept, ${plan.change.added.length} planned anew, ${plan.change.dropped.length} dropped`] : []),
    ...(plan?.findings ?? []).map((finding) => `warning: ${plain(finding.message)}`), ...estimateLines(session),
  ]
}
