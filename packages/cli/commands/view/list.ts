import { listViews } from '@swarm/contract/endpoints/views.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { table } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { all } from '../../run/target.ts'

export const viewList = command({
  name: 'view list',
  summary: 'Lists saved views of boards: your own, and those that are shared with you',
  examples: [['swarm view list', 'all of them'], ['swarm view list --project shop', 'those of one project']],
  options: [{ flags: '--project <slug>', description: 'only those of this project' }],
  input: z.object({ project: z.string().optional() }),
  async run({ project }, { settings, signal }) {
    const { client } = connect(settings().config)
    const views = await all((cursor) => client.call(listViews, { query: { limit: 200, projectId: project, ...cursor } }, { signal }))
    return {
      json: { views },
      text: views.length === 0 ? 'There is none yet: "swarm view save" makes one.' : table(['id', 'name', 'project', 'whose', 'shows', 'sort'], views.map((view) => [
        view.id, view.name, view.projectId ?? '-', `${view.mine ? 'yours' : view.ownerId}${view.shared ? ', shared' : ''}`,
        Object.entries(view.settings.filters).map(([name, value]) => `${name} ${[value].flat().join(' or ')}`).join(', ') || 'everything', view.settings.sort,
      ])),
    }
  },
})
