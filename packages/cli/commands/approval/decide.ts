import { decideApproval, showApproval } from '@swarm/contract/endpoints/approvals.ts'
import type { Context, Outcome } from '../../command.ts'
import { connect } from '../../platform/connect.ts'
import { shownPayload } from '../../run/decide.ts'

/** Decides about what the approval shows now, or about the payload that the caller saw; says it before and after. */
export async function decideFromCommandLine(decision: 'approved' | 'rejected' | 'revision_requested', { id, reason, hash }: { id: string; reason: string; hash?: string | undefined }, { io, settings, signal }: Context): Promise<Outcome> {
  const { client } = connect(settings().config)
  const approval = await client.call(showApproval, { params: { approvalId: id } }, { signal })
  for (const line of shownPayload(approval)) io.say(line)
  const decided = await client.call(decideApproval, { params: { approvalId: id }, body: { decision, payloadHash: hash ?? approval.payloadHash, reason } }, { signal })
  return { json: decided, text: decided.status === 'pending' ? `You approved ${decided.id}; more people must, before it is decided` : `${decided.id} is ${decided.status.replace('_', ' ')}` }
}
