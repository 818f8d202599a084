import { setBudget } from '@swarm/contract/endpoints/budgets.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { table } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { rowsOf } from './show.ts'

const NONE = z.literal('none').transform(() => null)

export const budgetSet = command({
  name: 'budget set',
  summary: 'Sets the ceiling of a project, session or ticket',
  description: 'What stopped at a lower ceiling goes on by itself; an open approval about it is void. What holds for every ticket and attempt of a project is set with "project set".',
  examples: [
    ['swarm budget set --project shop --usd 50', 'model calls of the project may cost $50'], ['swarm budget set --ticket TKT-7Q2M9XKD --usd 2 --tokens 1000000', 'whichever is met first stops it'],
    ['swarm budget set --session SES-7Q2M9XKD --usd none', 'no ceiling of its own'],
  ],
  options: [
    { flags: '--project <name>', description: 'the project, by id or slug' }, { flags: '--session <id>', description: 'the session with its design and its tickets' }, { flags: '--ticket <id>', description: 'all attempts of the ticket together' },
    { flags: '--usd <dollars>', description: 'money; "none" for no ceiling' }, { flags: '--tokens <number>', description: 'input and output tokens together; "none" for no ceiling' },
  ],
  input: z.object({
    project: z.string().optional(), session: z.string().optional(), ticket: z.string().optional(),
    usd: z.union([NONE, z.coerce.number('give dollars or "none"').min(0).max(1_000_000)]).optional(), tokens: z.union([NONE, z.coerce.number('give a number or "none"').int().min(0)]).optional(),
  }).refine(({ project, session, ticket }) => [project, session, ticket].filter((each) => each !== undefined).length === 1, { path: ['project'], error: 'name one of --project, --session and --ticket' })
    .refine(({ usd, tokens }) => usd !== undefined || tokens !== undefined, { path: ['usd'], error: 'give --usd, --tokens or both' }),
  async run({ project, session, ticket, usd, tokens }, { settings, signal }) {
    const { client } = connect(settings().config)
    const [kind, id] = project !== undefined ? ['project' as const, project] : session !== undefined ? ['session' as const, session] : ['ticket' as const, ticket ?? '']
    const budget = await client.call(setBudget, {
      params: { kind, id }, body: { ...(usd === undefined ? {} : { maxCostMicroUsd: usd === null ? null : Math.round(usd * 1_000_000) }), ...(tokens === undefined ? {} : { maxTokens: tokens }) },
    }, { signal })
    return { json: budget, text: table(['kind', 'id', 'name', 'unit', 'ceiling', 'spent', 'set aside', 'left'], rowsOf(budget)) }
  },
})
