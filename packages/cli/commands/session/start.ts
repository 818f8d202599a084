import { createSession } from '@swarm/contract/endpoints/design.ts'
import { listRepositories } from '@swarm/contract/endpoints/repositories.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { userPath } from '../../config.ts'
import { UserError } from '../../errors.ts'
import { connect } from '../../platform/connect.ts'
import { readSpec } from '../../run/inputs.ts'
import { all } from '../../run/target.ts'
import { MaxCost } from '../run.ts'

export const sessionStart = command({
  name: 'session start',
  summary: 'Starts a design session from an idea or a spec',
  description: 'What a plan needs and the text does not say is asked, one question at a time ("swarm session chat" answers them here);\nthen the spec is written, planned, and waits for approval.',
  examples: [
    ['swarm session start "a page that works out tips" --repository tips', 'asks, then writes the spec'],
    ['swarm session start --repository tips --spec SPEC.md', 'asks only what the spec leaves open'],
    ['swarm session start --repository tips --spec SPEC.md --no-questions', 'plans it as it is'],
  ],
  arguments: [{ name: 'idea', description: 'what is wanted, in your words', optional: true, variadic: true }],
  options: [
    { flags: '--repository <id>', description: 'id or name of the repository that it is built in' }, { flags: '--spec <file>', description: 'Markdown with requirements, instead of an idea' },
    { flags: '--no-questions', description: 'ask nothing' }, { flags: '--confirm', description: 'somebody has to approve before anything is spent' }, { flags: '--max-cost <usd>', description: 'ceiling of the session in dollars, its tickets included' },
  ],
  input: z.object({ idea: z.array(z.string()).default([]), repository: z.string({ error: 'name the repository ("swarm repository list")' }), spec: z.string().optional(), questions: z.boolean().default(true), confirm: z.boolean().default(false), maxCost: MaxCost }),
  async run({ idea, repository: name, spec: file, questions, confirm, maxCost }, { settings, signal }) {
    const input = idea.join(' ').trim()
    if ((file === undefined) === (input === '')) throw new UserError('misuse', 'Give either an idea in words, or --spec with a file.', '"swarm session start --help" shows how it is used.')
    const text = file === undefined ? { input } : { spec: (await readSpec(userPath(file))).markdown }
    const { client } = connect(settings().config)
    const found = (await all((cursor) => client.call(listRepositories, { query: { limit: 200, ...cursor } }, { signal }))).filter(({ id, slug }) => id === name || slug === name)
    const [repository] = found
    if (!repository || found.length > 1) throw new UserError('repository_unclear', repository ? `${found.length} repositories are named ${name}.` : `There is no repository ${name}.`, `Give one of their ids ("swarm repository list")${repository ? `: ${found.map(({ id }) => id).join(', ')}` : ', or import one with "swarm repository import"'}.`)
    const session = await client.call(createSession, {
      body: { projectId: repository.projectId, repositoryId: repository.id, ...text, clarify: questions ? 'auto' : 'off', confirmStart: confirm, ...(maxCost === undefined ? {} : { maxCostMicroUsd: maxCost }) },
    }, { signal })
    return { json: session, text: `${session.id} "${session.title}" is ${session.state}\n  how far it is: swarm session show ${session.id}${questions ? `\n  its questions: swarm session chat ${session.id}` : ''}` }
  },
})
