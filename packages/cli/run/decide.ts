import { isCancel, select, text } from '@clack/prompts'
import type { Client } from '@swarm/contract/client.ts'
import { decideApproval, type Approval } from '@swarm/contract/endpoints/approvals.ts'
import { MergePayload } from '@swarm/contract/endpoints/changes.ts'
import { Plan } from '@swarm/contract/endpoints/design.ts'
import { answerQuestion, type Question } from '@swarm/contract/endpoints/tickets.ts'
import { BUDGET_UNITS } from '@swarm/core/budgets/reserve.ts'
import { ApiError } from '@swarm/contract/errors.ts'
import { z } from 'zod'
import { Interrupted } from '../errors.ts'
import type { Io } from '../io.ts'
import { money, plain } from '../io.ts'
import { buildLines } from './shown-build.ts'

export interface Deciding { readonly client: Client; readonly io: Io; readonly yes: boolean; readonly signal: AbortSignal }

const SpecPayload = z.object({ title: z.string(), requirements: z.array(z.object({ id: z.string(), text: z.string() })), plan: Plan })
const BreachPayload = z.object({ ceiling: z.string(), id: z.string(), unit: z.enum(BUDGET_UNITS), cap: z.number(), proposedCap: z.number(), approve: z.string(), reject: z.string() })

/** One line: what an approval is about. */
export function subjectOf(approval: Approval): string {
  const title = z.object({ title: z.string() }).safeParse(approval.payload)
  return `${approval.kind} of ${title.success ? `"${title.data.title}"` : `${approval.subject.kind} ${approval.subject.id}`}`
}

/** What exactly a person approves, in lines. */
export function shownPayload(approval: Approval): string[] {
  const spec = approval.kind === 'spec_approval' ? SpecPayload.safeParse(approval.payload) : undefined
  if (spec?.success) {
    const { plan, requirements, title } = spec.data
    return [
      `The plan for "${title}": ${requirements.length} requirements → ${plan.tickets.length} tickets in ${plan.waves.length} waves`,
      ...plan.waves.flatMap((keys, wave) => keys.flatMap((key) => plan.tickets.filter((ticket) => ticket.key === key).map((ticket) => `  wave ${wave + 1}  ${key}: ${ticket.title}${ticket.dependsOn.length === 0 ? '' : ` (after ${ticket.dependsOn.join(', ')})`}`))),
      ...(plan.change === null ? [] : [`  since version ${plan.change.sinceVersion}: kept ${plan.change.kept.join(', ') || 'none'}; planned anew ${plan.change.added.join(', ') || 'none'}; dropped ${plan.change.dropped.join(', ') || 'none'}`]),
      ...plan.findings.map((finding) => `  warning: ${finding.message}`),
    ]
  }
  const build = approval.kind === 'build_start' ? buildLines(approval.payload) : null
  if (build !== null) return build
  const breach = approval.kind === 'budget_breach' ? BreachPayload.safeParse(approval.payload) : undefined
  if (breach?.success) {
    const { ceiling, id, unit, cap, proposedCap, approve, reject } = breach.data
    const amount = (value: number): string => unit === 'tokens' ? `${value} tokens` : money(value)
    return [`The ceiling of ${ceiling} ${id}, ${amount(cap)}, is used up`, `  approve: ${approve} (to ${amount(proposedCap)})`, `  reject: ${reject}; a retry asks again`]
  }
  const merge = approval.kind === 'merge' ? MergePayload.safeParse(approval.payload) : undefined
  if (merge?.success) {
    const { title, files, additions, deletions, checks, warnings, changeId, review } = merge.data
    return [
      `Merge of ${changeId} "${title}": ${files} files, +${additions} −${deletions}`,
      ...checks.map((check) => `  check ${check.name}: ${check.exitCode === 0 ? 'passed' : `exit ${String(check.exitCode)}`} (${check.command})`),
      ...(review?.score == null ? [] : [`  agent reviewer (${review.servedBy}): ${review.verdict === 'approve' ? 'would merge it' : 'asks for changes'}, score ${review.score} of 100`, ...review.reasons.map((reason) => `    - ${plain(reason)}`)]),
      ...warnings.map((warning) => `  warning: ${plain(warning)}`), `  the diff: swarm change diff ${changeId}; what was said about it: swarm change comments ${changeId}`,
    ]
  }
  return [`${approval.kind} for ${approval.subject.kind} ${approval.subject.id}:`, ...JSON.stringify(approval.payload, null, 2).split('\n').map((line) => `  ${line}`)]
}

/** Decides an approval by --yes or by asking. @returns false when it stays open, since nobody is here who may */
export async function decide(approval: Approval, { client, io, yes, signal }: Deciding): Promise<boolean> {
  const send = async (decision: 'approved' | 'rejected' | 'revision_requested', by: 'person' | 'yes-flag', reason = ''): Promise<boolean> => {
    try {
      const { status } = await client.call(decideApproval, { params: { approvalId: approval.id }, body: { decision, payloadHash: approval.payloadHash, by, reason } }, { signal })
      if (status === 'pending') {
        io.say(`  ${subjectOf(approval)}: you approved; more people must, before it is decided`)
        return false
      }
      io.say(`${io.style('green', '✓')} ${subjectOf(approval)}: ${decision.replace('_', ' ')}${by === 'yes-flag' ? ' by --yes' : ''}`)
    } catch (error) {
      // Somebody else was faster, or it is about something else by now: the next look shows how things stand.
      if (!(error instanceof ApiError) || !['already_decided', 'payload_changed', 'change_not_open', 'illegal_transition'].includes(error.code)) throw error
      io.say(`  ${subjectOf(approval)}: ${error.message}`)
    }
    return true
  }
  if (yes && approval.yesAllowed) return await send('approved', 'yes-flag')
  if (!io.interactive) return false
  io.status(null)
  for (const line of shownPayload(approval)) io.say(line)
  const chosen = answered(await select({
    message: `${approval.kind} ${approval.id}`, output: process.stderr, signal,
    options: approval.kind === 'budget_breach'
      ? [{ value: 'approved' as const, label: 'raise and resume' }, { value: 'rejected' as const, label: 'keep paused' }]
      : [{ value: 'approved' as const, label: 'approve' }, { value: 'revision_requested' as const, label: 'send it back with a reason' }, { value: 'rejected' as const, label: 'reject' }],
  }), signal)
  const reason = chosen === 'approved' ? '' : answered(await text({ message: 'Why? (the one who works on it reads this)', output: process.stderr, signal }), signal)
  return await send(chosen, 'person', reason)
}

/** Answers an agent's question by what is known, or by asking. @returns false when it stays open */
export async function answer(question: Question, known: string | undefined, { client, io, signal }: Deciding): Promise<boolean> {
  const send = async (words: string): Promise<boolean> => {
    await client.call(answerQuestion, { params: { questionId: question.id }, body: { answer: words } }, { signal })
    io.say(`${io.style('green', '✓')} answered ${question.id}: ${words}`)
    return true
  }
  if (known !== undefined) return await send(known)
  if (!io.interactive) return false
  io.status(null)
  io.say(`The agent of ${question.ticketId} asks: ${question.text}`)
  const own = '\u0000own'
  const chosen = question.options.length === 0 ? own : answered(await select({
    message: 'Your answer', output: process.stderr, signal, options: [...question.options.map((option) => ({ value: option, label: option })), { value: own, label: 'something else' }],
  }), signal)
  return await send(chosen !== own ? chosen : answered(await text({ message: 'Your answer', output: process.stderr, signal, validate: (value) => (!value ? 'Write an answer' : undefined) }), signal))
}

/** A prompt's value. Ctrl-C in a prompt is Ctrl-C. */
function answered<T>(value: T, signal: AbortSignal): Exclude<T, symbol> {
  if (signal.aborted) throw signal.reason
  if (isCancel(value)) throw new Interrupted('SIGINT')
  return value as Exclude<T, symbol>
}
