import { exportUsage, listUsage, type UsageAmounts, type UsageGroup, type UsageRow } from '@swarm/contract/endpoints/usage.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { parseJson } from '@swarm/core/json.ts'
import { z } from 'zod'
import type { Context } from '../../context.ts'
import { dayOf } from '../../db/days.ts'
import { type CsvColumns, sendExport } from '../../http/export.ts'
import { page } from '../../http/pages.ts'
import { register } from '../../http/register.ts'
import { GROUP_ORDER, slugsOf, type SummedRow, usageBy, type UsageFilter } from './queries.ts'

const EXPORT_PAGE = 500

/** What the work of agents used and cost, read from the records of model calls and attempts. */
export function registerUsage({ http, db, clock }: Pick<Context, 'http' | 'db' | 'clock'>): void {
  register(http, listUsage, async ({ query, projects }) => {
    const filter = { ...query, projects: await projects() }
    const groups = inOrder(query.groupBy ?? [])
    const rows = await usageBy(db.read, filter, groups, readCursor(query.cursor, groups), query.limit + 1)
    const [total] = await usageBy(db.read, filter, [], null, 1)
    if (!total) throw new Error('a sum without groups has one row')
    const present = await presenter(rows)
    return { ...page(rows, query.limit, present, (row) => cursorOf(row, groups)), total: amounts(total), asOf: clock() }
  })

  register(http, exportUsage, async ({ query, projects, reply, signal }) => {
    return sendExport(reply, signal, { name: 'usage', format: query.format, columns: CSV_COLUMNS, pages: pages({ ...query, projects: await projects() }, inOrder(query.groupBy ?? [])) })
  })

  async function* pages(filter: UsageFilter, groups: readonly UsageGroup[]): AsyncGenerator<UsageRow[]> {
    for (let after: (string | number)[] | null = null, more = true; more;) {
      const rows = await usageBy(db.read, filter, groups, after, EXPORT_PAGE)
      yield rows.map(await presenter(rows))
      const last = rows.at(-1)
      more = groups.length > 0 && last !== undefined && rows.length === EXPORT_PAGE
      after = last === undefined ? null : placeOf(last, groups)
    }
  }

  async function presenter(rows: readonly SummedRow[]): Promise<(row: SummedRow) => UsageRow> {
    const slugs = await slugsOf(db.read, [...new Set(rows.flatMap(({ project }) => typeof project === 'string' ? [project] : []))])
    return (row) => {
      const projectId = row.project === undefined ? null : String(row.project)
      return {
        projectId, project: projectId === null ? null : slugs.get(projectId) ?? null, agent: row.agent === undefined ? null : String(row.agent), model: row.model === undefined ? null : String(row.model),
        day: row.day === undefined ? null : dayOf(Number(row.day)), ...amounts(row),
      }
    }
  }
}

const inOrder = (groups: readonly UsageGroup[]): UsageGroup[] => GROUP_ORDER.filter((group) => groups.includes(group))
const placeOf = (row: SummedRow, groups: readonly UsageGroup[]): (string | number)[] => groups.map((group) => row[group] ?? '')
const cursorOf = (row: SummedRow, groups: readonly UsageGroup[]): string => Buffer.from(JSON.stringify(placeOf(row, groups))).toString('base64url')

/** @throws DomainError `invalid_input` when it is no cursor of ours, or one of other groups */
function readCursor(cursor: string | undefined, groups: readonly UsageGroup[]): (string | number)[] | null {
  if (cursor === undefined) return null
  const place = z.array(z.union([z.string(), z.number().int()])).safeParse(parseJson(Buffer.from(cursor, 'base64url').toString('utf8')))
  const fits = place.success && groups.length > 0 && place.data.length === groups.length && place.data.every((value, at) => (typeof value === 'number') === (groups[at] === 'day'))
  if (!fits) throw new DomainError('invalid_input', { problem: 'the cursor is not one that Swarm gave for these groups', field: 'cursor' })
  return place.data
}

function amounts(row: SummedRow): UsageAmounts {
  return {
    calls: row.calls, inputTokens: row.input_tokens, outputTokens: row.output_tokens, cacheReadTokens: row.cache_read_tokens, cacheWriteTokens: row.cache_write_tokens,
    costMicroUsd: row.cost, estimatedMicroUsd: row.estimated, attempts: row.attempts, wallMs: row.wall_ms, tickets: row.tickets, merged: row.merged,
  }
}

const CSV_COLUMNS: CsvColumns<UsageRow> = [
  ['day', ({ day }) => day], ['project_id', ({ projectId }) => projectId], ['project', ({ project }) => project], ['agent', ({ agent }) => agent], ['model', ({ model }) => model],
  ['calls', ({ calls }) => calls], ['input_tokens', ({ inputTokens }) => inputTokens], ['output_tokens', ({ outputTokens }) => outputTokens], ['cache_read_tokens', ({ cacheReadTokens }) => cacheReadTokens],
  ['cache_write_tokens', ({ cacheWriteTokens }) => cacheWriteTokens], ['cost_micro_usd', ({ costMicroUsd }) => costMicroUsd], ['estimated_micro_usd', ({ estimatedMicroUsd }) => estimatedMicroUsd],
  ['attempts', ({ attempts }) => attempts], ['wall_ms', ({ wallMs }) => wallMs], ['tickets', ({ tickets }) => tickets], ['merged', ({ merged }) => merged],
]
