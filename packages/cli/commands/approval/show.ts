import { showApproval } from '@swarm/contract/endpoints/approvals.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'
import { shownPayload } from '../../run/decide.ts'

export const approvalShow = command({
  name: 'approval show',
  summary: 'Shows exactly what an approval is about',
  examples: [['swarm approval show APR-7Q2M9XKD', 'what approving it would authorise']],
  arguments: [{ name: 'id', description: 'the approval' }],
  input: z.object({ id: z.string() }),
  async run({ id }, { settings, signal }) {
    const approval = await connect(settings().config).client.call(showApproval, { params: { approvalId: id } }, { signal })
    const decided = approval.decidedBy === null ? '' : ` by ${approval.decidedBy}${approval.reason ? `: ${approval.reason}` : ''}`
    return { json: approval, text: [`${approval.id} ${approval.kind}: ${approval.status}${decided}`, `payload ${approval.payloadHash}`, ...shownPayload(approval)].join('\n') }
  },
})
