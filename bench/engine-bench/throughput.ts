import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import { claim, complete } from '@swarm/contract/runner-protocol.ts'
import type { Database } from '@swarm/server/db/database.ts'
import { claimTicket } from '@swarm/server/features/tickets/claim.ts'
import { createTicketCommands } from '@swarm/server/features/tickets/commands.ts'
import { completeAttempt } from '@swarm/server/features/tickets/reports.ts'
import { newId } from '@swarm/server/ids.ts'
import { ENGINE, RULES } from './claims.ts'
import { benchmark, elapsedMs, median, type Benchmark, type Suite } from '../measure.ts'
import { createPlace, folder, openHome, placeInDatabase, registerBenchRunner, seedTickets, startServer } from './world.ts'

const CLIENTS = [1, 8, 32] as const
const HEAD = 'a'.repeat(40)

/** Runs `task` `count` times, `clients` at once. */
export async function atOnce(clients: number, count: number, task: () => Promise<void>): Promise<void> {
  let left = count
  await Promise.all(Array.from({ length: clients }, async () => {
    while (left-- > 0) await task()
  }))
}

/** Claim and complete by the engine in this process: each a unit of its own, committed together where they meet. */
export async function engineRate(db: Database, place: Awaited<ReturnType<typeof placeInDatabase>>, clients: number, count: number): Promise<number> {
  const commands = createTicketCommands(ENGINE)
  const completed: { id: string; ticketId: string }[] = []
  await seedTickets(db, place, count, 1)
  const took = await elapsedMs(() => atOnce(clients, count, async () => {
    const attempt = await db.write((trx) => claimTicket(trx, ENGINE, RULES, place.runnerId, newId('call')))
    if (!attempt) throw new Error('nothing was claimed')
    await db.write((trx) => completeAttempt(trx, ENGINE, place.runnerId, { id: attempt.id, fence: attempt.fence, headSha: HEAD, summary: 'done' }))
    completed.push({ id: attempt.id, ticketId: attempt.ticket_id })
  }))
  // What follows is not measured: gate, checks and merge take these out of the way of the next run.
  for (const { id, ticketId } of completed) {
    await db.write(async (trx) => {
      await commands.gatePassed(trx, { attemptId: id, gate: '{}' })
      await commands.verified(trx, { attemptId: id })
      await commands.enterMerge(trx, { ticketId, correlationId: 'bench' })
      await commands.merged(trx, { ticketId, sha: HEAD, correlationId: 'bench' })
    })
  }
  return count / took * 1000
}

/**
 * The limit: what a claim and a completion must at least do (choose, insert the attempt, move the ticket, two events; read it
 * back, move both, two events) as prepared statements of better-sqlite3 on the same file, `clients` units to a commit, FULL sync.
 */
function bareRate(home: string, place: { projectId: string; repositoryId: string; runnerId: string }, clients: number, count: number): number {
  const file = new Sqlite(join(home, 'swarm.sqlite'))
  try {
    file.pragma('synchronous = FULL')
    const choose = file.prepare("select * from tickets where project_id = ? and state = 'ready' limit 1")
    const columns = (file.prepare('select name from pragma_table_info(?)').all('attempts') as { name: string }[]).map(({ name }) => name)
    const insert = file.prepare(`insert into attempts (${columns.join(', ')}) values (${columns.map((name) => `@${name}`).join(', ')})`)
    const take = file.prepare("update tickets set state = 'claimed', fence = fence + 1, attempt_count = attempt_count + 1, updated_at = ? where id = ? and state = 'ready'")
    const event = file.prepare('insert into events (type, project_id, subject_kind, subject_id, data, correlation_id, at) values (?, ?, ?, ?, ?, ?, ?)')
    const read = file.prepare('select * from attempts where id = ? and fence = ?')
    const finish = file.prepare("update attempts set state = 'gating', head_sha = ? where id = ? and fence = ? and state = 'running'")
    const hand = file.prepare("update tickets set state = ?, updated_at = ? where id = ? and state = ?")
    const say = (id: string, to: string) => event.run('ticket:update', place.projectId, 'ticket', id, JSON.stringify({ to, reason: null }), id, Date.now())
    const claimed: { id: string; ticketId: string }[] = []
    const claimOne = () => {
      const ticket = choose.get(place.projectId) as { id: string } | undefined
      if (!ticket) throw new Error('nothing was claimed')
      const id = newId('attempt')
      const empty = Object.fromEntries(columns.map((name) => [name, null]))
      insert.run({ ...empty, id, ticket_id: ticket.id, project_id: place.projectId, number: 1, fence: 1, state: 'running', agent_name: 'developer', agent_version: 1, runner_id: place.runnerId, claim_key: id, correlation_id: id, base_sha: '', start_sha: '', deadline_at: Date.now(), status_sequence: -1, created_at: Date.now() })
      take.run(Date.now(), ticket.id)
      say(ticket.id, 'claimed')
      claimed.push({ id, ticketId: ticket.id })
    }
    const completeOne = ({ id, ticketId }: { id: string; ticketId: string }) => {
      read.get(id, 1)
      finish.run(HEAD, id, 1)
      say(ticketId, 'gating')
      hand.run('in_progress', Date.now(), ticketId, 'claimed')
      say(ticketId, 'in_progress')
      hand.run('verifying', Date.now(), ticketId, 'in_progress')
      say(ticketId, 'verifying')
    }
    const together = file.transaction((unit: () => void, times: number) => { for (let each = 0; each < times; each++) unit() })
    const startedAt = performance.now()
    for (let done = 0; done < count; done += clients) {
      const units = Math.min(clients, count - done)
      together.immediate(claimOne, units)
      together.immediate(() => { completeOne(claimed.shift()!) }, units)
    }
    return count / (performance.now() - startedAt) * 1000
  } finally {
    file.close()
  }
}

export async function throughputInProcess({ quick, note }: Suite): Promise<Benchmark[]> {
  const [runs, count] = [quick ? 3 : 5, quick ? 200 : 500]
  const results: Benchmark[] = []
  for (const clients of CLIENTS) {
    const figures: number[] = []
    const bare: number[] = []
    for (let run = 0; run <= runs; run++) {
      using home = folder()
      const place = await (async () => {
        await using db = await openHome(home.path)
        const made = await placeInDatabase(db)
        const rate = await engineRate(db, made, clients, count)
        if (run > 0) figures.push(rate)
        await seedTickets(db, made, count, 1)
        return made
      })()
      const rate = bareRate(home.path, place, clients, count)
      if (run > 0) bare.push(rate)
    }
    note(`claim + complete in process, ${clients} at once: ${median(figures).toFixed(0)}/s beside ${median(bare).toFixed(0)}/s`)
    results.push(benchmark({ name: `claim + complete, SQLite, in process, ${clients} at once`, unit: '/s', value: median(figures), limit: median(bare), runs }))
  }
  return results
}

/** The same over HTTP: a claim prepares the work (commit, swarm.yml, start ref, token), and the gate reads each completion beside it. */
export async function throughputOverHttp({ quick, note }: Suite): Promise<Benchmark[]> {
  const [runs, count] = [quick ? 2 : 3, quick ? 40 : 100]
  const results: Benchmark[] = []
  for (const clients of CLIENTS) {
    using home = folder()
    let server = await startServer(home.path)
    const place = await createPlace(server.admin)
    await server[Symbol.asyncDispose]()
    await (async () => {
      await using db = await openHome(home.path)
      await seedTickets(db, place, count * (runs + 1) + 100, 1)
    })()
    server = await startServer(home.path)
    await using running = server
    const runner = await registerBenchRunner(running, 'rate')
    const figures: number[] = []
    for (let run = 0; run <= runs; run++) {
      const took = await elapsedMs(() => atOnce(clients, count, async () => {
        const work = await runner.claim(20_000)
        if (work?.kind !== 'attempt') throw new Error('nothing was claimed')
        await runner.client.call(complete, { body: { kind: 'attempt', id: work.attemptId, fence: work.fence, headSha: HEAD, summary: 'done' } })
      }))
      if (run > 0) figures.push(count / took * 1000)
    }
    note(`claim + complete over ${claim.path}, ${clients} at once: ${median(figures).toFixed(0)}/s`)
    results.push(benchmark({ name: `claim + complete, SQLite, over HTTP, ${clients} at once`, unit: '/s', value: median(figures), runs }))
  }
  return results
}
