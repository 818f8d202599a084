import { ApprovalStatus, listApprovals } from '@swarm/contract/endpoints/approvals.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { table, time } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { subjectOf } from '../../run/decide.ts'
import { all } from '../../run/target.ts'

export const approvalList = command({
  name: 'approval list',
  summary: 'Lists decisions that wait for a person',
  examples: [['swarm approval list', 'those that are open'], ['swarm approval list --status approved', 'those that were approved, and by whom']],
  options: [{ flags: '--status <status>', description: 'pending unless given; "all" for every one' }],
  input: z.object({ status: z.enum([...ApprovalStatus.options, 'all'], 'there is no such status').default('pending') }),
  async run({ status }, { settings, signal }) {
    const { client } = connect(settings().config)
    const approvals = await all((cursor) => client.call(listApprovals, { query: { limit: 200, ...(status === 'all' ? {} : { status }), ...cursor } }, { signal }))
    return {
      json: { approvals },
      text: approvals.length === 0 ? 'Nothing waits.' : table(['id', 'about', 'status', 'decided by', 'asked'], approvals.map((each) => [each.id, subjectOf(each), each.status, each.decidedBy ?? '-', time(each.createdAt)])),
    }
  },
})
