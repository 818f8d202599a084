import { join } from 'node:path'
import type { CheckInput, IntegrityReport, Repair, Violation } from '@swarm/contract/integrity.ts'
import type { Database } from '../db/database.ts'
import { openDatabase } from '../db/open.ts'
import { createCheckSource } from '../features/checks/source.ts'
import { LONGEST_CALL_MS } from '../features/model/gateway.ts'
import { createLedger } from '../features/model/ledger.ts'
import { expireAttempts } from '../features/tickets/attempt-source.ts'
import { newId } from '../ids.ts'
import { followRef, repositoryPath } from '../integrations/builtin-code-host/bare.ts'

/**
 * Mends what can be mended without deciding anything, by the functions that the server mends it with while it runs: leases
 * that are over, branches that lag behind their change, calls of processes that are gone. Events are only added to; main
 * stays. Where a server runs, all of this is its own work, and is left to it.
 * @returns what was done about each violation that says it is repairable
 */
export async function repairRecords(input: CheckInput, report: IntegrityReport): Promise<Repair[]> {
  const repairable = report.violations.filter(({ repairable: can, subject }) => can && Object.hasOwn(MENDING, subject.kind))
  if (repairable.length === 0) return []
  if (report.live) return repairable.map(({ invariant, subject }) => ({ invariant, subject, done: false, what: 'the platform runs and mends this itself; if it stays, restart it' }))
  await using db = await openDatabase({ home: input.home, databaseUrl: input.databaseUrl })
  const repairs: Repair[] = []
  for (const violation of repairable) {
    const what = await MENDING[violation.subject.kind as keyof typeof MENDING](db, violation, input.home)
    repairs.push({ invariant: violation.invariant, subject: violation.subject, done: what !== null, what: what ?? 'there was nothing to do any more' })
  }
  return repairs
}

const random = (): number => (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) / 2 ** 32

const MENDING = {
  async attempt(db: Database, { subject }: Violation): Promise<string | null> {
    const deps = { now: Date.now, random, makeId: newId }
    while (await db.write((trx) => expireAttempts(trx, deps, Date.now())) > 0);
    const state = (await db.read.selectFrom('attempts').select('state').where('id', '=', subject.id).executeTakeFirst())?.state
    return state === undefined || state === 'running' ? null : `its lease was ended: it is ${state}, and the ticket goes on from what it had pushed`
  },

  async check(db: Database, { subject }: Violation): Promise<string | null> {
    const undescribed = async (): Promise<never> => { throw new Error('no work is described while leases are ended') }
    const source = createCheckSource({ db, now: Date.now, leaseTtlMs: 0, beatMs: 0, setRef: async () => undefined, place: undescribed, inputs: { image: undescribed, layer: undescribed } })
    while (await db.write((trx) => source.expire(trx, Date.now())) > 0);
    const state = (await db.read.selectFrom('check_runs').select('state').where('id', '=', subject.id).executeTakeFirst())?.state
    return state === undefined || state === 'running' ? null : `its lease was ended: it is ${state}`
  },

  async call(db: Database, { subject }: Violation): Promise<string | null> {
    await createLedger({ db, provider: 'none' }).settleDead(LONGEST_CALL_MS)
    const call = await db.read.selectFrom('model_calls').select(['state', 'cost_micro_usd']).where('id', '=', subject.id).executeTakeFirst()
    return call?.state === 'settled' ? `it was settled to its whole reservation of ${call.cost_micro_usd ?? 0} micro-dollars, since nobody knows what was served` : null
  },

  async change(db: Database, { subject }: Violation, home: string): Promise<string | null> {
    const place = await db.read.selectFrom('changes').innerJoin('repositories', 'repositories.id', 'changes.repository_id').innerJoin('projects', 'projects.id', 'repositories.project_id')
      .select(['changes.branch', 'changes.head_sha', 'repositories.slug', 'projects.slug as project_slug']).where('changes.id', '=', subject.id).executeTakeFirst()
    if (!place) return null
    await followRef(repositoryPath(join(home, 'repositories'), place.project_slug, place.slug), `refs/heads/${place.branch}`, place.head_sha)
    return `its branch ${place.branch} follows it again, at ${place.head_sha.slice(0, 12)}`
  },
} as const
