import { listProjectMembers, removeProjectMember, setProjectMember } from '@swarm/contract/endpoints/projects.ts'
import { PROJECT_ROLES } from '@swarm/core/policy/actions.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { table } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { all } from '../../run/target.ts'

const PROJECT = { name: 'project', description: 'the project, by id or slug' }

export const projectMembers = command({
  name: 'project members',
  summary: 'Lists the members of a project, adds one or takes one out',
  examples: [['swarm project members shop', 'who has a role in this one project'], ['swarm project members shop --add USR-7Q2M9XKD --role developer', 'also changes their role'], ['swarm project members shop --remove USR-7Q2M9XKD', 'what they are in the organisation stays']],
  arguments: [PROJECT],
  options: [{ flags: '--add <user>', description: 'a member of the organisation, by id' }, { flags: '--role <role>', description: 'of the one who is added: viewer or developer' }, { flags: '--remove <user>', description: 'takes this one out' }],
  input: z.object({ project: z.string(), add: z.string().optional(), role: z.enum(PROJECT_ROLES, 'give viewer or developer').default('developer'), remove: z.string().optional() }),
  async run({ project, add, role, remove }, { settings, signal }) {
    const { client } = connect(settings().config)
    if (add !== undefined) await client.call(setProjectMember, { params: { projectId: project, userId: add }, body: { role } }, { signal })
    if (remove !== undefined) await client.call(removeProjectMember, { params: { projectId: project, userId: remove } }, { signal })
    const members = await all((cursor) => client.call(listProjectMembers, { params: { projectId: project }, query: { limit: 200, ...cursor } }, { signal }))
    return { json: { members }, text: members.length === 0 ? 'It has no members of its own: who belongs to its organisation sees it, unless it is for members only.' : table(['id', 'name', 'e-mail', 'role'], members.map((each) => [each.userId, each.name, each.email, each.role])) }
  },
})
