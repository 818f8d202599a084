import { listBudgets, type Budget } from '@swarm/contract/endpoints/budgets.ts'
import { listProjects } from '@swarm/contract/endpoints/projects.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { money, table } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { all } from '../../run/target.ts'

export const budgetShow = command({
  name: 'budget show',
  summary: 'Shows ceilings of model calls, and what is spent, set aside and left',
  examples: [['swarm budget show', 'all projects with their sessions and tickets'], ['swarm budget show --project shop --json', 'one project, for programs']],
  options: [{ flags: '--project <name>', description: 'this project only, by id or slug' }],
  input: z.object({ project: z.string().optional() }),
  async run({ project }, { settings, signal }) {
    const { client } = connect(settings().config)
    const names = project === undefined ? (await all((cursor) => client.call(listProjects, { query: { limit: 200, ...cursor } }, { signal }))).map(({ id }) => id) : [project]
    const budgets = (await Promise.all(names.map((projectId) => client.call(listBudgets, { params: { projectId } }, { signal })))).flatMap(({ items }) => items)
    return { json: { budgets }, text: table(['kind', 'id', 'name', 'unit', 'ceiling', 'spent', 'set aside', 'left'], budgets.flatMap(rowsOf)) }
  },
})

/** A line for money, and one for tokens where they have a ceiling. */
export function rowsOf({ kind, id, name, microUsd, tokens }: Budget): string[][] {
  const row = (unit: string, amount: Budget['tokens'], show: (value: number) => string): string[] =>
    [kind, id, name, unit, amount.cap === null ? 'none' : show(amount.cap), show(amount.spent), show(amount.reserved), amount.left === null ? '-' : show(amount.left)]
  return [row('money', microUsd, money), ...(tokens.cap === null ? [] : [row('tokens', tokens, String)])]
}
