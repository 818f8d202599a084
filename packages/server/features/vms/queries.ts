import { sql, type Insertable, type Kysely, type Selectable, type Updateable } from 'kysely'
import { inProjects } from '../../db/projects.ts'
import type { Schema, VmOperationsTable, VmSamplesTable, VmUsageTable, VmsTable } from '../../db/schema.ts'

type Db = Kysely<Schema>
export type UsageRow = Selectable<VmUsageTable>
export type OperationRow = Selectable<VmOperationsTable>
/** A microVM with its runner, its ticket and what it uses. */
export interface VmView { readonly vm: Selectable<VmsTable>; readonly runner: { name: string; seenAt: number | null }; readonly ticketTitle: string | null; readonly usage: UsageRow | undefined }

export interface VmFilter { state?: string | undefined; projects: 'all' | readonly string[]; runnerId?: string | undefined; ticketId?: string | undefined; since?: number | undefined }

export async function vms(db: Db, filter: VmFilter, after: { at: number; id: string } | null, limit: number): Promise<{ vm: Selectable<VmsTable>; usage: UsageRow | undefined }[]> {
  let query = db.selectFrom('vms').selectAll().orderBy('started_at', 'desc').orderBy('id', 'desc').limit(limit)
  if (filter.state === 'paused') query = query.where('state', '=', 'running').where('paused', '=', 1)
  else if (filter.state !== undefined) query = query.where('state', '=', filter.state)
  if (filter.runnerId !== undefined) query = query.where('runner_id', '=', filter.runnerId)
  if (filter.ticketId !== undefined) query = query.where('ticket_id', '=', filter.ticketId)
  const { since } = filter
  if (since !== undefined) query = query.where((eb) => eb.or([eb('ended_at', 'is', null), eb('ended_at', '>=', since)]))
  query = inProjects(query, 'project_id', filter.projects)
  if (after) query = query.where((eb) => eb.or([eb('started_at', '<', after.at), eb.and([eb('started_at', '=', after.at), eb('id', '<', after.id)])]))
  const rows = await query.execute()
  const usage = new Map((await usageOf(db, rows.map(({ id }) => id))).map((row) => [row.vm_id, row]))
  return rows.map((vm) => ({ vm, usage: usage.get(vm.id) }))
}

export async function vmView(db: Db, id: string): Promise<VmView | undefined> {
  const vm = await db.selectFrom('vms').selectAll().where('id', '=', id).executeTakeFirst()
  if (!vm) return undefined
  const about = await db.selectFrom('runners').leftJoin('tickets', (join) => join.on('tickets.id', '=', vm.ticket_id ?? '')).select(['runners.name', 'runners.seen_at as seenAt', 'tickets.title']).where('runners.id', '=', vm.runner_id).executeTakeFirstOrThrow()
  return { vm, runner: { name: about.name, seenAt: about.seenAt }, ticketTitle: about.title, usage: (await usageOf(db, [id]))[0] }
}

/** MicroVMs that were made for this work. */
export async function vmsOfWork(db: Db, workId: string): Promise<string[]> {
  return (await db.selectFrom('vms').select('id').where('work_id', '=', workId).orderBy('id').execute()).map(({ id }) => id)
}

/** Those of these that are on record, of any runner. */
export async function knownVms(db: Db, ids: readonly string[]): Promise<string[]> {
  return (await db.selectFrom('vms').select('id').where('id', 'in', ids).orderBy('id').execute()).map(({ id }) => id)
}

export async function usageOf(db: Db, vmIds: readonly string[]): Promise<UsageRow[]> {
  return vmIds.length === 0 ? [] : db.selectFrom('vm_usage').selectAll().where('vm_id', 'in', vmIds).execute()
}

/** Those of these microVMs that this runner has and that are not over. */
export async function liveVmsOf(db: Db, runnerId: string, vmIds: readonly string[]): Promise<{ id: string; driver: string; paused: number }[]> {
  return vmIds.length === 0 ? [] : db.selectFrom('vms').select(['id', 'driver', 'paused']).where('id', 'in', vmIds).where('runner_id', '=', runnerId).where('state', '!=', 'ended').execute()
}

export async function putUsage(db: Db, rows: readonly UsageRow[]): Promise<void> {
  const columns = ['sampled_at', 'kept_at', 'peak_rss_bytes', 'cpu_ms', 'rss_bytes', 'pss_bytes', 'scratch_bytes', 'egress_bytes', 'open_forwards', 'uptime_ms', 'paused', 'cpu_millicores'] as const
  await db.insertInto('vm_usage').values([...rows])
    .onConflict((oc) => oc.column('vm_id').doUpdateSet((eb) => Object.fromEntries(columns.map((column) => [column, eb.ref(`excluded.${column}`)])))).execute()
}

export async function keepSamples(db: Db, rows: readonly Insertable<VmSamplesTable>[]): Promise<void> {
  await db.insertInto('vm_samples').values([...rows]).onConflict((oc) => oc.columns(['vm_id', 'at']).doNothing()).execute()
}

export async function samplesOf(db: Db, vmId: string, since: number, limit: number): Promise<Selectable<VmSamplesTable>[]> {
  return db.selectFrom('vm_samples').selectAll().where('vm_id', '=', vmId).where('at', '>=', since).orderBy('at').limit(limit).execute()
}

/** Returns how many went. */
export async function removeSamples(db: Db, before: number, limit: number): Promise<number> {
  const old = db.selectFrom('vm_samples').select('at').where('at', '<', before).orderBy('at').limit(limit)
  const bound = (await db.selectFrom(old.as('old')).select((eb) => eb.fn.max('at').as('at')).executeTakeFirst())?.at
  if (bound == null) return 0
  const { numDeletedRows } = await db.deleteFrom('vm_samples').where('at', '<=', Number(bound)).executeTakeFirst()
  return Number(numDeletedRows)
}

/** What microVMs that are not over use, with what a page needs to place them. */
export async function currentUsage(db: Db): Promise<(UsageRow & { project_id: string; runner_id: string })[]> {
  return db.selectFrom('vm_usage').innerJoin('vms', 'vms.id', 'vm_usage.vm_id').selectAll('vm_usage').select(['vms.project_id', 'vms.runner_id']).where('vms.state', '!=', 'ended').orderBy('vm_usage.vm_id').limit(1_000).execute()
}

export interface TotalsRow { key: string; label: string; driver: string; state: string; vms: number; measured: number; paused: number; cpu_ms: number; cpu_millicores: number; rss_bytes: number; pss_bytes: number; scratch_bytes: number; egress_bytes: number; open_forwards: number }

/** What microVMs that are not over use now, added up by runner or by project, with driver and state. Sums come as text from PostgreSQL. */
export async function totalsBy(db: Db, by: 'runner' | 'project'): Promise<TotalsRow[]> {
  const owner = by === 'runner' ? 'vms.runner_id' as const : 'vms.project_id' as const
  const sum = (column: 'cpu_ms' | 'cpu_millicores' | 'rss_bytes' | 'pss_bytes' | 'scratch_bytes' | 'egress_bytes' | 'open_forwards') => sql<string | number>`coalesce(sum(vm_usage.${sql.ref(column)}), 0)`.as(column)
  const rows = await db.selectFrom('vms').leftJoin('vm_usage', 'vm_usage.vm_id', 'vms.id').select([`${owner} as key`, 'vms.driver', 'vms.state'])
    .select((eb) => [eb.fn.countAll<string | number>().as('vms'), eb.fn.count<string | number>('vm_usage.vm_id').as('measured'), sql<string | number>`sum(vms.paused)`.as('paused')])
    .select([sum('cpu_ms'), sum('cpu_millicores'), sum('rss_bytes'), sum('pss_bytes'), sum('scratch_bytes'), sum('egress_bytes'), sum('open_forwards')])
    .where('vms.state', '!=', 'ended').groupBy([owner, 'vms.driver', 'vms.state']).orderBy(owner).execute()
  const keys = [...new Set(rows.map(({ key }) => key))]
  const named = keys.length === 0 ? [] : by === 'runner' ? await db.selectFrom('runners').select(['id', 'name as label']).where('id', 'in', keys).execute()
    : await db.selectFrom('projects').select(['id', 'slug as label']).where('id', 'in', keys).execute()
  const labels = new Map(named.map(({ id, label }) => [id, label]))
  return rows.map(({ key, driver, state, ...sums }) => ({ key, label: labels.get(key) ?? key, driver, state, ...numbers(sums) }))
}

function numbers<Name extends string>(row: Record<Name, string | number>): Record<Name, number> {
  return Object.fromEntries(Object.entries<string | number>(row).map(([name, value]) => [name, Number(value)])) as Record<Name, number>
}

export async function insertOperation(db: Db, row: OperationRow): Promise<void> {
  await db.insertInto('vm_operations').values(row).execute()
}

export async function operationById(db: Db, id: string): Promise<OperationRow | undefined> {
  return db.selectFrom('vm_operations').selectAll().where('id', '=', id).executeTakeFirst()
}

export async function operationsOf(db: Db, vmId: string, limit: number): Promise<OperationRow[]> {
  return db.selectFrom('vm_operations').selectAll().where('vm_id', '=', vmId).orderBy('created_at', 'desc').orderBy('id').limit(limit).execute()
}

/** Gives a runner what waits for it; nobody else gets it. */
export async function takeQueued(db: Db, runnerId: string, now: number): Promise<OperationRow[]> {
  return db.updateTable('vm_operations').set({ state: 'running' }).where('runner_id', '=', runnerId).where('state', '=', 'queued').where('expires_at', '>', now).returningAll().execute()
}

export async function updateOperation(db: Db, id: string, patch: Pick<Updateable<VmOperationsTable>, 'expires_at'>): Promise<void> {
  await db.updateTable('vm_operations').set(patch).where('id', '=', id).execute()
}

/** Ends one that has not ended. Null when it had. */
export async function settleOperation(db: Db, id: string, patch: Pick<OperationRow, 'state' | 'exit_code' | 'failure' | 'ended_at'>): Promise<OperationRow | null> {
  return await db.updateTable('vm_operations').set(patch).where('id', '=', id).where('state', 'in', ['queued', 'running']).returningAll().executeTakeFirst() ?? null
}

/** Whether it was paused or resumed by its runner since then. */
export async function pausedOrResumedSince(db: Db, vmId: string, since: number): Promise<boolean> {
  return await db.selectFrom('vm_operations').select('id').where('vm_id', '=', vmId).where('kind', 'in', ['pause', 'resume']).where('state', '=', 'done').where('ended_at', '>', since).executeTakeFirst() !== undefined
}

/** Operations that nobody ended in their time, and when the next one is due. */
export async function overdueOperations(db: Db, now: number, limit: number): Promise<string[]> {
  return (await db.selectFrom('vm_operations').select('id').where('state', 'in', ['queued', 'running']).where('expires_at', '<', now).orderBy('expires_at').limit(limit).execute()).map(({ id }) => id)
}
export async function earliestExpiry(db: Db): Promise<number | null> {
  const row = await db.selectFrom('vm_operations').select((eb) => eb.fn.min('expires_at').as('at')).where('state', 'in', ['queued', 'running']).executeTakeFirst()
  return row?.at == null ? null : Number(row.at)
}
