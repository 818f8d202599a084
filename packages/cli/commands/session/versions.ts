import { listSpecVersions, showSpecVersion } from '@swarm/contract/endpoints/design.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { plain, table, time } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { all } from '../../run/target.ts'

export const sessionVersions = command({
  name: 'session versions',
  summary: 'Lists the versions of a spec, or prints one',
  examples: [['swarm session versions SES-7Q2M9XKD', 'who wrote each, and why'], ['swarm session versions SES-7Q2M9XKD --show 2 > SPEC.md', 'the text of one']],
  arguments: [{ name: 'id', description: 'the design session' }],
  options: [{ flags: '--show <version>', description: 'print the Markdown of this version' }],
  input: z.object({ id: z.string(), show: z.coerce.number().int().min(1).optional() }),
  async run({ id, show }, { settings, signal }) {
    const { client } = connect(settings().config)
    if (show !== undefined) {
      const version = await client.call(showSpecVersion, { params: { sessionId: id, version: show } }, { signal })
      return { json: version, text: plain(version.markdown) }
    }
    const versions = await all((cursor) => client.call(listSpecVersions, { params: { sessionId: id }, query: { limit: 200, ...cursor } }, { signal }))
    return { json: { versions }, text: table(['version', 'author', 'requirements', 'created', 'why'], versions.map((each) => [each.version, each.author, each.requirements, time(each.createdAt), plain(each.reason)])) }
  },
})
