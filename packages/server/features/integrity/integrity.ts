import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { CheckInput, HostAudit, IntegrityReport, Violation } from '@swarm/contract/integrity.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Facts, RepositoryFact } from '@swarm/core/integrity/facts.ts'
import { CAP_EVENTS, capsBefore, emptyReplay, projectCaps, replayEvent, type Replay, type ReplayKnowledge } from '@swarm/core/integrity/replay.ts'
import { judge } from '@swarm/core/integrity/rules.ts'
import { inspectDatabase } from '../../db/inspect.ts'
import type { Read } from '../../db/database.ts'
import { readServed } from './model-log.ts'
import { ownerAlive, serverRuns } from './processes.ts'
import { eventsInOrder, readPlaces, readRows } from './queries.ts'
import { readMain, readRefs, type MainFacts } from './repositories.ts'

/** Looks at an installation that works until what it finds has been there three times, ms between. */
const LOOKS = 3
const BETWEEN_LOOKS_MS = 1_000

/**
 * Checks I1…I10 of one installation, running or not, and changes nothing. Database, git and processes cannot be read in one
 * moment: where a server runs, only what is found again a second later, twice, is a violation.
 * @param host what the runner's part finds of processes (packages/runner/vms/audit.ts); the server knows none of them
 */
export async function checkRecords(input: CheckInput, host: HostAudit): Promise<IntegrityReport> {
  const live = input.live ?? serverRuns(input.home)
  let report = await look(input, live, host)
  for (let looks = 1; looks < LOOKS && live && !input.settled && report.violations.length > 0; looks++) {
    await delay(BETWEEN_LOOKS_MS)
    const again = await look(input, live, host)
    const before = new Set(report.violations.map(keyOf))
    const violations = again.violations.filter((violation) => before.has(keyOf(violation)))
    report = { ...again, violations, ok: violations.length === 0 }
  }
  return report
}

const keyOf = ({ invariant, subject }: Violation): string => `${invariant} ${subject.kind} ${subject.id}`

async function look(input: CheckInput, live: boolean, host: HostAudit): Promise<IntegrityReport> {
  const root = join(input.home, 'repositories')
  const places = await inspectDatabase(input, readPlaces)
  const mains = new Map<string, MainFacts>()
  for (const place of places) mains.set(place.id, await readMain(root, place))

  return inspectDatabase(input, async (db) => {
    const rows = await readRows(db, ownerAlive)
    const tickets = new Map(rows.tickets.map((ticket) => [ticket.id, ticket]))
    const repositories: RepositoryFact[] = []
    for (const place of rows.places) {
      const main = mains.get(place.id)
      if (main) repositories.push({ ...main, ...await readRefs(root, place, tickets, rows.attempts) })
    }
    const now = Date.now()
    if (input.modelLog !== undefined && !existsSync(input.modelLog)) throw new DomainError('invalid_input', { problem: `there is no file ${input.modelLog}`, field: 'the model log' })
    const modelLog = input.modelLog ?? join(input.home, 'logs', 'rehearsal.jsonl')
    const facts: Facts = {
      ...rows, repositories, host, now, settled: input.settled, asOf: live || input.settled ? now : rows.lastTraceAt,
      served: await readServed(modelLog, new Map(rows.calls.map((call) => [call.id, call])), input.prices),
    }
    const replay = await replayAll(db, facts)
    const violations = judge(facts, replay).map((finding) => ({ ...finding, evidence: { ...finding.evidence } }))
    return {
      ok: violations.length === 0, violations, live,
      checked: {
        tickets: facts.tickets.length, attempts: facts.attempts.length, changes: facts.changes.length, approvals: facts.approvals.length, modelCalls: facts.calls.length, events: replay.events,
        refs: repositories.reduce((sum, { refs }) => sum + refs.size, 0), mainValues: repositories.reduce((sum, { mainLog }) => sum + mainLog.length, 0), processes: host.processes,
      },
    }
  })
}

async function replayAll(db: Read, facts: Facts): Promise<Replay> {
  const parents = new Map<string, string[]>()
  for (const { ticketId, dependsOnId } of facts.dependencies) parents.set(ticketId, [...parents.get(ticketId) ?? [], dependsOnId])
  const firstCaps = new Map<string, number | null>([
    ...facts.sessions.map(({ id, maxCostMicroUsd }) => [`session/${id}/micro_usd`, maxCostMicroUsd] as const),
    ...facts.projects.flatMap(({ id, settings }) => projectCaps(id, settings)),
  ])
  // A ceiling that was raised or set began as what the first event says it was; where that is not said, as none.
  const changed = new Set<string>()
  for await (const event of eventsInOrder(db, [...CAP_EVENTS])) {
    for (const [key, cap] of capsBefore(event)) {
      if (changed.has(key)) continue
      changed.add(key)
      firstCaps.set(key, cap)
    }
  }
  const known: ReplayKnowledge = { parents, firstCaps }
  const replay = emptyReplay()
  for await (const event of eventsInOrder(db)) replayEvent(replay, event, known)
  return replay
}
