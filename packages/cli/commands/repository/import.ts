import { importRepository } from '@swarm/contract/endpoints/repositories.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'
import { readSource } from '../../run/inputs.ts'

export const repositoryImport = command({
  name: 'repository import',
  summary: 'Imports what is committed on a branch, or takes what is new there',
  description: 'The work tree and the branches of the origin are only read.',
  examples: [['swarm repository import ../shop --project shop', 'a repository on this machine'], ['swarm repository import https://example.org/shop.git --project shop --branch develop', 'a branch of a remote one']],
  arguments: [{ name: 'source', description: 'path or address' }],
  options: [
    { flags: '--project <slug>', description: 'project that it belongs to' }, { flags: '--slug <slug>', description: 'its name there; taken from the source unless given' },
    { flags: '--branch <name>', description: 'the origin\'s default branch unless given' }, { flags: '--allow-dirty', description: 'import the last commit although there are uncommitted changes' },
  ],
  input: z.object({ source: z.string(), project: z.string({ error: 'name the project' }), slug: z.string().optional(), branch: z.string().optional(), allowDirty: z.boolean().default(false) }),
  async run({ source: given, project, slug, branch, allowDirty }, { settings, signal }) {
    const source = await readSource(given, { allowDirty, files: [] })
    if (source.kind !== 'import') throw new TypeError('a source is imported')
    const { client } = connect(settings().config)
    const imported = await client.call(importRepository, { body: { projectId: project, slug: slug ?? source.slug, source: source.origin, ...(branch === undefined ? {} : { branch }) } }, { signal })
    return { json: imported, text: [`${imported.id} ${imported.slug}: ${imported.outcome.replace('_', ' ')} at ${imported.head.slice(0, 12)}`, ...imported.notes].join('\n') }
  },
})
