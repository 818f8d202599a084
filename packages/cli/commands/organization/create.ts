import { createOrganization } from '@swarm/contract/endpoints/organizations.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

export const organizationCreate = command({
  name: 'organization create',
  summary: 'Creates an organisation',
  examples: [['swarm organization create acme --name "Acme Inc"', 'with you as its admin']],
  arguments: [{ name: 'slug', description: 'lower-case letters, digits and hyphens' }],
  options: [{ flags: '--name <name>', description: 'the slug unless given' }],
  input: z.object({ slug: z.string(), name: z.string().optional() }),
  async run({ slug, name }, { settings, signal }) {
    const made = await connect(settings().config).client.call(createOrganization, { body: { slug, ...(name === undefined ? {} : { name }) } }, { signal })
    return { json: made, text: `${made.id}: ${made.slug}` }
  },
})
