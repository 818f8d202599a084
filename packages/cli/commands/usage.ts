import { writeFileSync } from 'node:fs'
import { exportUsage, listUsage, UsageGroup, type UsageAmounts } from '@swarm/contract/endpoints/usage.ts'
import { z } from 'zod'
import { command } from '../command.ts'
import { userPath } from '../config.ts'
import { UserError } from '../errors.ts'
import { duration, money, table } from '../io.ts'
import { connect } from '../platform/connect.ts'
import { all } from '../run/target.ts'
import { Since } from '../since.ts'

const Groups = z.string().transform((text) => text.split(',').map((each) => each.trim())).pipe(z.array(z.enum(UsageGroup.options, 'give project, agent, model or day, with commas between them')))

export const usage = command({
  name: 'usage',
  summary: 'Says what model calls used and cost, with the attempts and tickets behind them',
  description: 'Tokens and cost are those of calls that were settled; what is estimated of them is an upper bound, of answers\nthat broke off. Days are of UTC.',
  examples: [['swarm usage', 'by project, ever'], ['swarm usage --by day,model --since 7d --project shop', 'of one project in the last week'], ['swarm usage --by agent,day --since 2026-01-01 --csv usage.csv', 'for a spreadsheet']],
  options: [
    { flags: '--by <groups>', description: 'any of project, agent, model, day, with commas (project unless given)' }, { flags: '--project <slug>', description: 'only this project' }, { flags: '--session <id>', description: 'only this design session' },
    { flags: '--ticket <id>', description: 'only this ticket' }, { flags: '--agent <name>', description: 'only this agent' }, { flags: '--model <name>', description: 'only this model' },
    { flags: '--since <time>', description: 'from this time on: a date, or 12h, 7d, 4w ago' }, { flags: '--until <time>', description: 'before this time' }, { flags: '--csv <file>', description: 'writes a CSV file; nothing that exists is replaced' },
  ],
  input: z.object({
    by: Groups.prefault('project'), project: z.string().optional(), session: z.string().optional(), ticket: z.string().optional(), agent: z.string().optional(), model: z.string().optional(),
    since: Since.optional(), until: Since.optional(), csv: z.string().min(1).optional(),
  }),
  async run({ by, project, session, ticket, agent, model, since, until, csv }, { settings, signal }) {
    const { client } = connect(settings().config)
    const query = { groupBy: by, projectId: project, sessionId: session, ticketId: ticket, agent, model, since, until }
    if (csv !== undefined) {
      const path = userPath(csv)
      const text = await client.text(exportUsage, { query: { ...query, format: 'csv' } }, { signal })
      try {
        writeFileSync(path, text, { flag: 'wx' })
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
        throw new UserError('file_exists', `${path} exists already.`, 'Name another path with --csv.')
      }
      const rows = text.split('\r\n').length - 2
      return { json: { path, rows }, text: `${path}: ${rows} rows` }
    }
    let total: UsageAmounts | undefined
    const rows = await all(async (cursor) => {
      const page = await client.call(listUsage, { query: { ...query, limit: 200, ...cursor } }, { signal })
      total = page.total
      return page
    })
    const amounts = (each: UsageAmounts) => [
      each.calls, each.inputTokens + each.cacheReadTokens + each.cacheWriteTokens, each.outputTokens, `${money(each.costMicroUsd)}${each.estimatedMicroUsd === 0 ? '' : ` (up to ${money(each.estimatedMicroUsd)} of it estimated)`}`,
      each.attempts, duration(each.wallMs), each.tickets, each.merged,
    ]
    const columns = ['calls', 'input', 'output', 'cost', 'attempts', 'time', 'tickets', 'merged']
    const lines = rows.map((row) => [...by.map((group) => row[group] || '-'), ...amounts(row)])
    return { json: { rows, total }, text: table([...by, ...columns], total === undefined ? lines : [...lines, [...by.map((_, at) => at === 0 ? 'total' : ''), ...amounts(total)]]) }
  },
})
