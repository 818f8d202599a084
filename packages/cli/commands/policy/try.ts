import { dryRunPolicies } from '@swarm/contract/endpoints/policies.ts'
import { z } from 'zod'
import { userPath } from '../../config.ts'
import { command } from '../../command.ts'
import { table, time } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { readableFile } from '../../run/inputs.ts'
import { ORGANIZATION } from './organization.ts'

export const policyTry = command({
  name: 'policy try',
  summary: 'Shows what of the latest actions would have come out otherwise with a policy',
  examples: [['swarm policy try no-shells --file no-shells.cedar', 'before it is stored'], ['swarm policy try merge-needs-a-person --off', 'one of Swarm\'s, if it were off']],
  arguments: [{ name: 'id', description: 'the policy' }],
  options: [ORGANIZATION, { flags: '--file <file>', description: 'its text in Cedar' }, { flags: '--off', description: 'as if it were off' }, { flags: '--entries <number>', description: 'how many of the latest actions; 200 unless given' }],
  input: z.object({ id: z.string(), organization: z.string().optional(), file: z.string().optional(), off: z.boolean().default(false), entries: z.coerce.number('give a number').int().min(1).max(1_000).default(200) }),
  async run({ id, organization, file, off, entries }, { settings, signal }) {
    const cedar = file === undefined ? undefined : await readableFile(userPath(file), 'The policy')
    const found = await connect(settings().config).client.call(dryRunPolicies, { body: { organizationId: organization, entries, proposed: [{ id, enabled: !off, ...(cedar === undefined ? {} : { cedar }) }] } }, { signal })
    const problems = found.problems.map(({ problem }) => `not valid: ${problem}`)
    const lines = problems.length > 0 ? problems : [
      `${found.looked} actions decided again${found.skipped === 0 ? '' : `, ${found.skipped} are about what is not there any more`}: ${found.changed.length} would come out otherwise`,
      ...(found.changed.length === 0 ? [] : [table(['when', 'who', 'action', 'on', 'was', 'would be'], found.changed.map((each) => [time(each.at), each.principal, each.action, each.resource, each.was, `${each.now.outcome} (${each.now.policies.join(', ') || 'nothing permits it'})`]))]),
    ]
    return { json: found, text: lines.join('\n'), exitCode: problems.length > 0 ? 1 : 0 }
  },
})
