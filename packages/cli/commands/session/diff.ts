import { diffSpecVersions, showSession } from '@swarm/contract/endpoints/design.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { UserError } from '../../errors.ts'
import { plain } from '../../io.ts'
import { connect } from '../../platform/connect.ts'

export const sessionDiff = command({
  name: 'session diff',
  summary: 'Compares two versions of a spec, by lines and by requirements',
  examples: [['swarm session diff SES-7Q2M9XKD', 'what the last version changed'], ['swarm session diff SES-7Q2M9XKD 1 4', 'between any two']],
  arguments: [{ name: 'id', description: 'the design session' }, { name: 'from', description: 'the version before; the one before the last unless given', optional: true }, { name: 'to', description: 'the version after; the last unless given', optional: true }],
  input: z.object({ id: z.string(), from: z.coerce.number('a version is a number').int().min(1).optional(), to: z.coerce.number('a version is a number').int().min(1).optional() }),
  async run({ id, from, to }, { settings, signal }) {
    const { client } = connect(settings().config)
    const last = to ?? (await client.call(showSession, { params: { sessionId: id } }, { signal })).specVersion
    const first = from ?? last - 1
    if (first < 1) throw new UserError('one_version', `${id} has one version only.`, 'Change its spec with "swarm session edit", then there is something to compare.')
    const diff = await client.call(diffSpecVersions, { params: { sessionId: id, version: first, to: last } }, { signal })
    const told = [
      ...diff.added.map(({ id: requirement, text }) => `added ${requirement}: ${text}`), ...diff.removed.map(({ id: requirement, text }) => `removed ${requirement}: ${text}`), ...diff.changed.map(({ id: requirement }) => `changed ${requirement}`),
      ...diff.everywhere.map((part) => `changed for every requirement: ${part}`),
    ]
    return { json: diff, text: plain([diff.unified === '' ? `versions ${first} and ${last} are the same text\n` : diff.unified, ...told].join('\n')) }
  },
})
