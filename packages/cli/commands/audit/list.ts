import { listAudit } from '@swarm/contract/endpoints/audit.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { table, time } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { ORGANIZATION } from '../policy/organization.ts'

export const auditList = command({
  name: 'audit list',
  summary: 'Lists who did what, newest first, and what was refused',
  examples: [['swarm audit list --outcome deny', 'what was refused, and by which policies'], ['swarm audit list --who USR-7Q2M9XKD --limit 200', 'what one person did']],
  options: [
    ORGANIZATION, { flags: '--project <id>', description: 'only in this project' }, { flags: '--who <id>', description: 'only by this user' }, { flags: '--action <name>', description: 'only this action, such as ticket:hold' },
    { flags: '--outcome <outcome>', description: 'allow, deny or approval' }, { flags: '--limit <number>', description: 'how many; 50 unless given, at most 200' },
  ],
  input: z.object({
    organization: z.string().optional(), project: z.string().optional(), who: z.string().optional(), action: z.string().optional(), outcome: z.enum(['allow', 'deny', 'approval'], 'give allow, deny or approval').optional(),
    limit: z.coerce.number('give a number').int().min(1).max(200).default(50),
  }),
  async run({ organization, project, who, action, outcome, limit }, { settings, signal }) {
    const { items } = await connect(settings().config).client.call(listAudit, { query: { organizationId: organization, projectId: project, principalId: who, action, outcome, limit } }, { signal })
    return {
      json: { entries: items },
      text: items.length === 0 ? 'Nothing.' : table(['when', 'who', 'action', 'on', 'policies said', 'ended'], items.map((each) => [
        time(each.at), each.principal.name ?? `${each.principal.kind} ${each.principal.id}`, each.action, `${each.resource.kind} ${each.resource.id}`, `${each.outcome}${each.policies.length === 0 ? '' : `: ${each.policies.join(', ')}`}`, each.code ?? (each.status === null ? '-' : String(each.status)),
      ])),
    }
  },
})
