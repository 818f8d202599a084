import { cpSync, existsSync } from 'node:fs'
import { basename, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Invariant, Violation } from '@swarm/contract/integrity.ts'
import { offeredDrivers } from '@swarm/runner/drivers/select.ts'
import { openDatabase } from '@swarm/server/db/open.ts'
import { startPostgres } from '@swarm/server/db/testing-setup.ts'
import { checkInstallation } from '../crash/check-installation.ts'
import { DISK_FAULTS } from './inject/disk.ts'
import { LINK_FAULTS } from './inject/links.ts'
import { MODEL_FAULTS } from './inject/model.ts'
import { PROCESS_FAULTS } from './inject/processes.ts'
import { RACE_FAULTS } from './inject/races.ts'
import type { Inject, Site } from './inject/site.ts'
import { startInstallation, type Installation } from './installation.ts'
import { startPeople } from './people.ts'
import { plant } from './plants.ts'
import { percentile, recoveries, type LoggedEvent } from './recovery.ts'
import { FAULT_KIND_NAMES, FAULT_KINDS, scheduleFaults, type Fault, type FaultKind } from './schedule.ts'
import { begun, heal, populate, settle } from './stage.ts'

const INJECT: Record<FaultKind, Inject> = { ...PROCESS_FAULTS, ...LINK_FAULTS, ...MODEL_FAULTS, ...DISK_FAULTS, ...RACE_FAULTS }

export interface ChaosOptions {
  readonly seed: number
  readonly seconds: number
  /** `auto`: qemu where it works, else process. */
  readonly driver: 'auto' | 'qemu' | 'process'
  readonly plant?: Invariant | undefined
  /** `postgres`: a cluster of its own for this run; or the address of an empty database. SQLite unless given. */
  readonly database?: string | undefined
  /** Folder that logs and database are copied to at the end, to be looked at. */
  readonly keep?: string | undefined
  readonly signal: AbortSignal
  readonly onNote: (line: string) => void
}

export interface ChaosResult {
  readonly seed: number
  readonly seconds: number
  readonly wallMs: number
  readonly driver: 'qemu' | 'process'
  readonly database: 'sqlite' | 'postgres'
  readonly leaseTtlMs: number
  /** Faults whose effect was observed. */
  readonly faults: number
  readonly byKind: Readonly<Record<string, { injected: number; observed: number }>>
  /** Kinds that this run could not do, and why. */
  readonly skipped: Readonly<Record<string, string>>
  readonly tickets: number
  readonly ticketsDone: number
  /** Tickets by state at the end. */
  readonly byState: Readonly<Record<string, number>>
  readonly merges: number
  readonly violations: readonly Violation[]
  /** Tickets that did not come to an end in time: they are not accounted for. */
  readonly unsettled: readonly string[]
  /** From the observation of a fault to the first event that shows progress. */
  readonly recoveredMs: { readonly p50: number | null; readonly max: number | null }
}

interface Outcome { readonly fault: Fault; readonly observedAt: number | null }

/**
 * One chaos run, from nothing to the report. What it starts is gone when it returns or throws.
 * @throws the signal's reason when it is aborted, whatever was waited for then
 */
export async function runChaos(options: ChaosOptions): Promise<ChaosResult> {
  try {
    return await run(options)
  } catch (error) {
    options.signal.throwIfAborted()
    throw error
  }
}

async function run(options: ChaosOptions): Promise<ChaosResult> {
  const { seed, seconds, signal, onNote } = options
  const startedAt = Date.now()
  const driver = options.driver === 'auto' ? (offeredDrivers().find(({ name }) => name === 'qemu')?.usable === true ? 'qemu' : 'process') : options.driver
  await using database = await openPlace(options.database)
  const { databaseUrl } = database
  await using installation = await startInstallation({ driver, databaseUrl, onNote, signal })
  const { projectId, repositories, gamma } = await populate(installation)
  await using people = startPeople({ client: installation.client, inFlight: installation.pace.inFlight, seed, projectId, repositories, onNote })
  const violations: Violation[] = []
  const site: Site = { installation, people, projectId, gamma, signal, violation: (violation) => { violations.push(violation) } }

  const skipped: Partial<Record<FaultKind, string>> = installation.unbounded === null ? {} : { 'disk-full': installation.unbounded }
  const faults = scheduleFaults({ seed, seconds, leaseTtlMs: installation.pace.lease.ttlMs, kinds: FAULT_KIND_NAMES.filter((kind) => skipped[kind] === undefined) })
  await begun(people, { signal, onNote })
  onNote(`driver ${driver}: ${faults.length} faults in ${seconds} s with seed ${seed}, lease ${installation.pace.lease.ttlMs} ms`)
  const records = await inject(faults, site, onNote)
  await heal(installation)

  onNote('no more faults; everything that is open comes to its end')
  const unsettled = await settle(people, installation, { signal, onNote })
  await people[Symbol.asyncDispose]()
  using _planted = options.plant === undefined ? undefined : await plant(options.plant, { installation, projectId, gamma })
  const report = await checkInstallation({ home: installation.home, databaseUrl, modelLog: installation.modelLog, settled: unsettled.length === 0, live: true })
  violations.push(...report.violations)
  if (options.keep !== undefined) keepTraces(installation, options.keep)

  const events = await readEvents(installation)
  const observed = records.flatMap(({ fault, observedAt }) => (observedAt === null ? [] : [{ area: FAULT_KINDS[fault.kind].area, at: observedAt }]))
  const recovered = recoveries(observed, events).filter((each) => each !== null)
  const byState: Record<string, number> = {}
  for (const { state } of people.tickets()) byState[state] = (byState[state] ?? 0) + 1
  return {
    seed, seconds, wallMs: Date.now() - startedAt, driver, database: databaseUrl === undefined ? 'sqlite' : 'postgres', leaseTtlMs: installation.pace.lease.ttlMs,
    faults: observed.length, byKind: countKinds(records), skipped, tickets: people.tickets().length, ticketsDone: byState['done'] ?? 0, byState,
    merges: events.filter(({ type }) => type === 'change:merged').length, violations, unsettled,
    recoveredMs: { p50: percentile(recovered, 0.5), max: percentile(recovered, 1) },
  }
}

async function openPlace(database: string | undefined): Promise<{ databaseUrl: string | undefined } & AsyncDisposable> {
  if (database !== 'postgres') return { databaseUrl: database, [Symbol.asyncDispose]: async () => undefined }
  const postgres = await startPostgres()
  if ('missing' in postgres) throw new Error(postgres.missing)
  return { databaseUrl: postgres.url, [Symbol.asyncDispose]: postgres.stop }
}

/** Carries out the schedule; one fault does not wait for another. */
async function inject(faults: readonly Fault[], site: Site, onNote: (line: string) => void): Promise<Outcome[]> {
  const { signal } = site
  const startedAt = performance.now()
  const records = await Promise.all(faults.map(async (fault): Promise<Outcome> => {
    await delay(Math.max(0, fault.atMs - (performance.now() - startedAt)), undefined, { signal })
    let observedAt: number | null = null
    let why = 'its effect was not seen'
    try {
      observedAt = (await INJECT[fault.kind](fault, site))?.at ?? null
    } catch (error) {
      signal.throwIfAborted()
      why = error instanceof Error ? error.message : String(error)
    }
    onNote(`${(fault.atMs / 1_000).toFixed(1)} s ${fault.kind}${fault.forMs === 0 ? '' : ` for ${fault.forMs} ms`}: ${observedAt === null ? `not observed (${why})` : 'observed'}`)
    return { fault, observedAt }
  }))
  return records
}

function keepTraces({ home, modelLog }: Installation, folder: string): void {
  for (const path of [join(home, 'logs'), join(home, 'swarm.sqlite'), join(home, 'swarm.sqlite-wal'), join(home, 'repositories'), modelLog]) {
    if (existsSync(path)) cpSync(path, join(folder, basename(path)), { recursive: true })
  }
}

async function readEvents({ home, databaseUrl }: Installation): Promise<LoggedEvent[]> {
  await using db = await openDatabase({ home, databaseUrl, strictUnits: false, onSlowUnit: () => undefined, onError: () => undefined })
  const rows = await db.read.selectFrom('events').select(['type', 'at', 'data']).orderBy('seq').execute()
  return rows.map(({ type, at, data }) => ({ type, at, data: JSON.parse(data) as Record<string, unknown> }))
}

function countKinds(records: readonly Outcome[]): Record<string, { injected: number; observed: number }> {
  const counts: Record<string, { injected: number; observed: number }> = {}
  for (const { fault, observedAt } of records) {
    const count = counts[fault.kind] ??= { injected: 0, observed: 0 }
    count.injected++
    if (observedAt !== null) count.observed++
  }
  return counts
}
