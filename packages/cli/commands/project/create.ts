import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

export const projectCreate = command({
  name: 'project create',
  summary: 'Creates a project',
  examples: [['swarm project create shop', 'its slug is its name'], ['swarm project create shop --name "The shop" --allow preset:npm', 'its microVMs may reach the npm registry']],
  arguments: [{ name: 'slug', description: 'lower-case letters, digits and hyphens' }],
  options: [
    { flags: '--name <name>', description: 'for people' }, { flags: '--concurrency <number>', description: 'tickets that are worked on at once' },
    { flags: '--allow <host...>', description: 'hosts that its microVMs may reach: exact, *.suffix or preset:npm' },
  ],
  input: z.object({ slug: z.string(), name: z.string().optional(), concurrency: z.coerce.number('give a number').int().min(1).optional(), allow: z.array(z.string()).optional() }),
  async run({ slug, name, concurrency, allow }, { settings, signal }) {
    const { client } = connect(settings().config)
    const project = await client.call(createProject, { body: { slug, name, settings: { ...(concurrency === undefined ? {} : { concurrency }), ...(allow === undefined ? {} : { egressAllow: allow }) } } }, { signal })
    return { json: project, text: `${project.id} ${project.slug}` }
  },
})
