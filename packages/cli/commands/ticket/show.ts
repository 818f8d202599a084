import { showTicket, type Attempt } from '@swarm/contract/endpoints/tickets.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { duration, money, time } from '../../io.ts'
import { connect } from '../../platform/connect.ts'

export const ticketShow = command({
  name: 'ticket show',
  summary: 'Shows a ticket with all of its attempts',
  examples: [['swarm ticket show TKT-7Q2M9XKD', 'what it asks for, and what was tried']],
  arguments: [{ name: 'id', description: 'the ticket' }],
  input: z.object({ id: z.string() }),
  async run({ id }, { settings, signal }) {
    const ticket = await connect(settings().config).client.call(showTicket, { params: { ticketId: id } }, { signal })
    return {
      json: ticket,
      text: [
        `${ticket.id}  ${ticket.title}`, `  state      ${ticket.state}${ticket.waitsFor === null ? '' : `; waits for ${ticket.waitsFor}`}`, `  agent      ${ticket.agent}`, `  depends on ${ticket.dependsOn.join(', ') || '-'}`,
        `  scope      ${ticket.scope.join(', ') || 'anywhere'}`, `  change     ${ticket.changeId ?? '-'} on ${ticket.branch}`, `  cost       ${money(ticket.costMicroUsd)}`,
        ...(ticket.description === '' ? [] : ['', ticket.description]), ...ticket.acceptance.map((line) => `  - ${line}`), ...ticket.history.flatMap(attemptLines),
      ].join('\n'),
    }
  },
})

function attemptLines(attempt: Attempt): string[] {
  return [
    '', `attempt ${attempt.number}  ${attempt.id}  ${attempt.state}  ${time(attempt.createdAt)}  ${attempt.vmIds.join(' ')}  ${money(attempt.costMicroUsd)}`,
    ...attempt.steps.map((step) => `  ${step.step.padEnd(10)} ${step.state}${step.wallMs === null ? '' : ` ${duration(step.wallMs)}`}${step.detail === null ? '' : `  ${step.detail}`}`),
    ...(attempt.failureReason === null ? [] : [`  ${attempt.failureClass ?? ''}: ${attempt.failureReason}${attempt.failureMessage === null ? '' : ` (${attempt.failureMessage.split('\n')[0] ?? ''})`}`]),
    ...(attempt.evidence?.findings ?? []).map((finding) => `  ${finding.severity} ${finding.code} ${finding.path ?? ''}${finding.line === null ? '' : `:${finding.line}`}: ${finding.message}`),
  ]
}
