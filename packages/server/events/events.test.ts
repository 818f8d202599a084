import { sql } from 'kysely'
import pg from 'pg'
import { expect, test } from 'vitest'
import { withCorrelationId } from '../correlation.ts'
import type { Database } from '../db/database.ts'
import { eachDialect } from '../db/testing.ts'
import { appendEvents, compareCursors, currentCursor, followEvents, readEvents, type NewEvent } from './events.ts'
import { readSettled } from './testing.ts'

const event = (id: string, projectId = 'PRJ-1'): NewEvent => ({ type: 'ticket:update', projectId, subject: { kind: 'ticket', id }, data: { state: 'ready' } })
const append = (db: Database, ...events: NewEvent[]): Promise<void> => db.write((trx) => appendEvents(trx, events))

eachDialect((dialect, make) => {
  test('events are read back in order, with what was given', async () => {
    await using place = await make()
    await using db = await place.open()
    await withCorrelationId('corr-12345678', () => append(db, { ...event('T1'), at: 5 }, event('T2')))
    const { events, cursor } = await readSettled(db, null, 10)
    expect(events[0]).toMatchObject({ type: 'ticket:update', projectId: 'PRJ-1', subject: { kind: 'ticket', id: 'T1' }, data: { state: 'ready' }, correlationId: 'corr-12345678', at: 5 })
    expect(events.map(({ subject }) => subject.id)).toEqual(['T1', 'T2'])
    expect((await readSettled(db, cursor, 10)).events).toEqual([])
    expect((await readSettled(db, events[0]?.cursor ?? '', 10)).events.map(({ subject }) => subject.id)).toEqual(['T2'])
  })

  test('a unit that fails leaves no event', async () => {
    await using place = await make()
    await using db = await place.open()
    await expect(db.write(async (trx) => {
      await appendEvents(trx, [event('T1')])
      throw new Error('no')
    })).rejects.toThrow('no')
    expect((await readSettled(db, null, 10)).events).toEqual([])
  })

  test('the database refuses to change, delete, replace or truncate events', async () => {
    await using place = await make()
    await using db = await place.open()
    await append(db, event('T1'))
    await expect(db.write((trx) => trx.updateTable('events').set({ type: 'x' }).execute())).rejects.toThrow('append-only')
    await expect(db.write((trx) => trx.deleteFrom('events').execute())).rejects.toThrow('append-only')
    const forbidden = dialect === 'postgres'
      ? sql`truncate events`
      : sql`replace into events (seq, type, subject_kind, subject_id, data, correlation_id, at) values (1, 'x', 'x', 'x', '{}', 'x', 1)`
    await expect(db.write((trx) => forbidden.execute(trx))).rejects.toThrow('append-only')
    expect((await readSettled(db, null, 10)).events).toMatchObject([{ type: 'ticket:update' }])
  })

  test('a filter leaves out the rest and its cursor passes them', async () => {
    await using place = await make()
    await using db = await place.open()
    await append(db, event('T1', 'PRJ-1'), event('T2', 'PRJ-2'), event('T3', 'PRJ-1'))
    const page = await readSettled(db, null, 10, { projectId: 'PRJ-2', types: ['ticket:update'] })
    expect(page.events.map(({ subject }) => subject.id)).toEqual(['T2'])
    expect((await readSettled(db, page.cursor, 10)).events).toEqual([])
    expect((await readSettled(db, null, 10, { subject: { kind: 'ticket', id: 'T3' } })).events).toHaveLength(1)
  })

  test('a cursor of another epoch, or none of ours, is refused', async () => {
    await using place = await make()
    await using db = await place.open()
    const cursor = await currentCursor(db.read)
    await expect(readEvents(db.read, 'abc', 10)).rejects.toMatchObject({ code: 'invalid_input' })
    await expect(readEvents(db.read, cursor.replace(/^.{8}/, '00000000'), 10)).rejects.toMatchObject({ code: 'cursor_expired' })
  })

  test('a reader that runs beside 24 writers misses nothing and sees nothing twice', async () => {
    await using place = await make()
    await using db = await place.open({ poolSize: 26 })
    const perWriter = 60
    const abort = new AbortController()
    const seen: string[] = []
    const reader = (async () => {
      for await (const { subject } of followEvents(db, null, abort.signal)) {
        seen.push(subject.id)
        if (seen.length === 24 * perWriter) break
      }
    })()
    await Promise.all(Array.from({ length: 24 }, async (_, writer) => {
      for (let index = 0; index < perWriter; index += 1) {
        await db.write(async (trx) => {
          await appendEvents(trx, [event(`${writer}-${index}`)])
          // Hold some transactions open after they took their sequence number, so that commit order differs from it.
          if (dialect === 'postgres' && index % 7 === writer % 7) await sql`select pg_sleep(0.005)`.execute(trx)
        })
      }
    }))
    await reader
    expect(new Set(seen).size).toBe(24 * perWriter)
    expect(seen).toHaveLength(24 * perWriter)
    abort.abort()
  })

  test('follow gives each event once, from its cursor on, and ends when aborted', async () => {
    await using place = await make()
    await using db = await place.open()
    await append(db, event('old'))
    await readSettled(db)
    const abort = new AbortController()
    const seen: string[] = []
    const reader = (async (from: string) => {
      for await (const { subject } of followEvents(db, from, abort.signal)) {
        seen.push(subject.id)
        if (subject.id === 'last') abort.abort()
      }
    })(await currentCursor(db.read))
    await append(db, event('a'), event('b'))
    await append(db, event('c'))
    await append(db, event('last'))
    await reader
    expect(seen).toEqual(['a', 'b', 'c', 'last'])
  })

  if (dialect === 'postgres') test('on PostgreSQL another process that commits wakes the reader', async () => {
    await using place = await make()
    await using here = await place.open()
    await using elsewhere = await place.open()
    const follower = followEvents(here, null, AbortSignal.timeout(10_000))
    const first = follower.next()
    await append(elsewhere, event('T1'))
    expect((await first).value?.subject.id).toBe('T1')
    await follower.return()
  })

  if (dialect === 'postgres') test('on PostgreSQL an event waits while an older transaction runs, and comes when it ended', async () => {
    await using place = await make()
    await using db = await place.open()
    let release = (): void => undefined
    const gate = new Promise<void>((resolve) => { release = resolve })
    let started = (): void => undefined
    const running = new Promise<void>((resolve) => { started = resolve })
    const older = db.write(async (trx) => {
      await appendEvents(trx, [event('older')])
      started()
      await gate
    })
    await running
    await append(db, event('newer'))
    expect(await readEvents(db.read, null, 10)).toMatchObject({ events: [], behind: true })
    release()
    await older
    const { events } = await readSettled(db, null, 10)
    expect(events.map(({ subject }) => subject.id)).toEqual(['older', 'newer'])
  })

  if (dialect === 'postgres') test('on PostgreSQL a log that was loaded into another cluster keeps its events and gets a new epoch', async () => {
    await using place = await make()
    let old: string
    {
      await using db = await place.open()
      await append(db, event('T1'), event('T2'))
      old = await currentCursor(db.read)
      // As a dump from a cluster far ahead would come: ids that this cluster reaches much later.
      await db.write(async (trx) => {
        await sql`alter table events disable trigger events_append_only`.execute(trx)
        await sql`update events set xid = '99999999999'::xid8`.execute(trx)
        await sql`alter table events enable trigger events_append_only`.execute(trx)
        await trx.updateTable('meta').set({ value: 'elsewhere' }).where('key', '=', 'cluster').execute()
      })
    }
    await using db = await place.open()
    await append(db, event('T3'))
    expect((await readSettled(db, null, 10)).events.map(({ subject }) => subject.id)).toEqual(['T1', 'T2', 'T3'])
    await expect(readEvents(db.read, old, 10)).rejects.toMatchObject({ code: 'cursor_expired' })
  })

  if (dialect === 'postgres') test('the listening connection comes back after it was cut, and waiters are woken', async () => {
    await using place = await make()
    await using here = await place.open()
    await using elsewhere = await place.open()
    const follower = followEvents(here, null, AbortSignal.timeout(20_000))
    const first = follower.next()
    await sql`select pg_terminate_backend(pid) from pg_stat_activity where query like 'listen %' and datname = current_database()`.execute(elsewhere.read)
    await append(elsewhere, event('T1'))
    expect((await first).value?.subject.id).toBe('T1')
    const second = follower.next()
    await append(elsewhere, event('T2'))
    expect((await second).value?.subject.id).toBe('T2')
    await follower.return()
  })

  if (dialect === 'postgres') test('an event behind a transaction that is not ours comes soon after its end, though nothing tells of it', async () => {
    await using place = await make()
    await using db = await place.open()
    const stranger = new pg.Client({ connectionString: place.databaseUrl })
    await stranger.connect()
    await stranger.query('begin; select pg_current_xact_id()')
    await append(db, event('T1'))
    // The last signal that there will be: the NOTIFY of that commit, come back.
    using latch = db.wake.latch('events')
    expect(await latch.wait({ timeoutMs: 5_000 })).toBe('woken')
    const follower = followEvents(db, null, AbortSignal.timeout(20_000))
    const first = follower.next()
    for (let reads = 0; reads < 3; reads += 1) expect(await readEvents(db.read, null, 1)).toMatchObject({ events: [], behind: true })
    await stranger.query('commit')
    await stranger.end()
    expect((await first).value?.subject.id).toBe('T1')
    await follower.return()
  }, 10_000)

  test('cursors compare in reading order', async () => {
    await using place = await make()
    await using db = await place.open()
    await append(db, event('T1'))
    await append(db, event('T2'))
    const [first, second] = (await readSettled(db, null, 10)).events
    expect(compareCursors(first?.cursor ?? '', second?.cursor ?? '')).toBe(-1)
    expect(compareCursors(second?.cursor ?? '', second?.cursor ?? '')).toBe(0)
  })
})
