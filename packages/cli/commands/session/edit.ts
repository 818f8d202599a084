import { editSpec, showSession } from '@swarm/contract/endpoints/design.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { userPath } from '../../config.ts'
import { connect } from '../../platform/connect.ts'
import { readSpec } from '../../run/inputs.ts'

export const sessionEdit = command({
  name: 'session edit',
  summary: 'Writes a new version of a spec, also while it is built',
  description: 'Open approvals are void. Only what the version touches is planned again; of a build, started tickets stay and get follow-ups.',
  examples: [['swarm session edit SES-7Q2M9XKD --spec SPEC.md --base 3 --reason "euros, not dollars"', 'refused if version 3 is no longer the last']],
  arguments: [{ name: 'id', description: 'the design session' }],
  options: [
    { flags: '--spec <file>', description: 'the whole spec in Markdown' }, { flags: '--base <version>', description: 'the version that was edited; the last one unless given' }, { flags: '--reason <text>', description: 'why; stands with the version' },
  ],
  input: z.object({ id: z.string(), spec: z.string({ error: 'give the Markdown file' }), base: z.coerce.number().int().min(1).optional(), reason: z.string().max(2_000).default('') }),
  async run({ id, spec: file, base, reason }, { settings, signal }) {
    const spec = await readSpec(userPath(file))
    const { client } = connect(settings().config)
    const baseVersion = base ?? (await client.call(showSession, { params: { sessionId: id } }, { signal })).specVersion
    const session = await client.call(editSpec, { params: { sessionId: id }, body: { spec: spec.markdown, baseVersion, reason } }, { signal })
    return { json: session, text: session.specVersion === baseVersion ? `${id} is at version ${baseVersion} as before: the text is the same` : `${id} is at version ${session.specVersion} and ${session.state} now` }
  },
})
