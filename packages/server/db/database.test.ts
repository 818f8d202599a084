import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import Sqlite from 'better-sqlite3'
import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { MIGRATIONS } from './migrations/index.ts'
import { eachDialect } from './testing.ts'
import { afterCommit, signal } from './unit.ts'

const newest = Object.keys(MIGRATIONS).at(-1)

eachDialect((dialect, make) => {
  test('an empty database is brought to the newest migration, once', async () => {
    await using place = await make('empty')
    {
      await using db = await place.open()
      expect((await db.migrations()).at(-1)).toBe(newest)
    }
    await using again = await place.open()
    expect(await again.migrations()).toEqual(Object.keys(MIGRATIONS))
  })

  if (dialect === 'postgres') test('replicas that start together migrate once', async () => {
    await using place = await make('empty')
    const opened = await Promise.all([place.open(), place.open(), place.open()])
    for (const db of opened) {
      expect(await db.migrations()).toEqual(Object.keys(MIGRATIONS))
      await db[Symbol.asyncDispose]()
    }
  })

  test('a database of a newer Swarm is refused and left as it was', async () => {
    await using place = await make()
    {
      await using db = await place.open()
      await db.write(async (trx) => {
        await sql`insert into kysely_migration (name, timestamp) values ('9999-future', '2030')`.execute(trx)
      })
    }
    await expect(place.open()).rejects.toMatchObject({ code: 'database_newer', details: { found: '9999-future', known: newest } })
    await expect(place.open()).rejects.toMatchObject({ code: 'database_newer' })
  })

  test('a migration that fails leaves nothing of itself', async () => {
    await using place = await make('empty')
    const broken: typeof MIGRATIONS = { ...MIGRATIONS, '9000-broken': { up: async (trx) => {
      await trx.schema.createTable('half').addColumn('id', 'text').execute()
      throw new Error('broken on purpose')
    } } }
    await expect(place.open({ migrations: broken })).rejects.toThrow('broken on purpose')
    await using db = await place.open()
    expect((await db.migrations()).at(-1)).toBe(newest)
    expect((await db.read.introspection.getTables()).map((table) => table.name)).not.toContain('half')
  })

  test('a unit that fails rolls back alone; its neighbours in the same commit stay', async () => {
    await using place = await make()
    await using db = await place.open()
    const results = await Promise.allSettled(Array.from({ length: 20 }, (_, index) => db.write(async (trx) => {
      await trx.insertInto('meta').values({ key: `unit-${index}`, value: 'x' }).execute()
      if (index % 5 === 3) throw new Error(`unit ${index} fails`)
      return index
    })))
    expect(results.filter((result) => result.status === 'rejected')).toHaveLength(4)
    const rows = await db.read.selectFrom('meta').select('key').where('key', 'like', 'unit-%').execute()
    expect(rows).toHaveLength(16)
    expect(rows.map((row) => row.key)).not.toContain('unit-3')
  })

  test('500 concurrent read-modify-write units all count', async () => {
    await using place = await make()
    await using db = await place.open({ poolSize: 10 })
    await db.write((trx) => trx.insertInto('meta').values({ key: 'count', value: '0' }).execute())
    await Promise.all(Array.from({ length: 500 }, () => db.write(async (trx) => {
      const { numUpdatedRows } = await trx.updateTable('meta')
        .set({ value: sql<string>`cast(cast(value as integer) + 1 as text)` }).where('key', '=', 'count').executeTakeFirstOrThrow()
      expect(numUpdatedRows).toBe(1n)
    })))
    const row = await db.read.selectFrom('meta').select('value').where('key', '=', 'count').executeTakeFirstOrThrow()
    expect(row.value).toBe('500')
  })

  test('hooks and signals run after the commit, and only after a commit', async () => {
    await using place = await make()
    await using db = await place.open()
    const seen: string[] = []
    db.wake.on('tickets', () => { seen.push('signal') })
    await db.write(async (trx) => {
      await trx.insertInto('meta').values({ key: 'a', value: '1' }).execute()
      afterCommit(trx, () => { seen.push('hook') })
      signal(trx, 'tickets')
      seen.push('unit')
    })
    expect(seen.slice(0, 3)).toEqual(['unit', 'hook', 'signal'])
    const before = seen.length
    await expect(db.write(async (trx) => {
      afterCommit(trx, () => { seen.push('never') })
      throw new Error('no')
    })).rejects.toThrow('no')
    expect(seen.slice(before)).not.toContain('never')
  })

  test('a unit inside a unit is an error and not a deadlock', async () => {
    await using place = await make()
    await using db = await place.open()
    await expect(db.write(async () => { await db.write(async () => 1) })).rejects.toThrow('inside a unit')
    expect(await db.write(async () => 'goes on')).toBe('goes on')
  })

  test('a query that its unit did not await is refused instead of landing in the next one', async () => {
    await using place = await make()
    await using db = await place.open()
    let leaked: Promise<unknown> | undefined
    let release = (): void => undefined
    const gate = new Promise<void>((resolve) => { release = resolve })
    await db.write(async (trx) => {
      leaked = gate.then(() => trx.insertInto('meta').values({ key: 'leak', value: '' }).execute())
    })
    release()
    await expect(leaked).rejects.toThrow('this trx is over')
  })

  test('numbers come back as numbers, sums and counts too', async () => {
    await using place = await make()
    await using db = await place.open()
    const row = await db.read.selectFrom('meta').select((eb) => [eb.fn.countAll<number>().as('count'), sql<number>`sum(cast(${1_700_000_000_000} as bigint))`.as('sum')]).executeTakeFirstOrThrow()
    expect(typeof row.count).toBe('number')
    expect(typeof row.sum).toBe('number')
  })

  if (dialect === 'sqlite') test('the reading connection cannot write', async () => {
    await using place = await make()
    await using db = await place.open()
    await expect(db.read.insertInto('meta').values({ key: 'x', value: '' }).execute()).rejects.toThrow(/readonly/)
  })

  if (dialect === 'sqlite') test('a unit that awaits something else than its trx is told, and fails in tests', async () => {
    await using place = await make()
    await using db = await place.open()
    await expect(db.write(async (trx) => {
      await trx.insertInto('meta').values({ key: 'slow', value: '' }).execute()
      await delay(1)
    })).rejects.toThrow('awaited something other')
    expect(await db.read.selectFrom('meta').selectAll().where('key', '=', 'slow').execute()).toEqual([])
  })

  test('closing waits for the units that were asked for', async () => {
    await using place = await make()
    const db = await place.open()
    const writes = Array.from({ length: 100 }, (_, index) => db.write((trx) => trx.insertInto('meta').values({ key: `k${index}`, value: '' }).execute()))
    await db[Symbol.asyncDispose]()
    await Promise.all(writes)
    await expect(db.write(async () => 1)).rejects.toThrow('closed')
    await using again = await place.open()
    expect(await again.read.selectFrom('meta').select('key').where('key', 'like', 'k%').execute()).toHaveLength(100)
  })

  test('kill -9 in the middle of writes: what was acknowledged is there, and no unit is half there', async () => {
    await using place = await make()
    const writer = spawn(process.execPath, [fileURLToPath(new URL('./fixtures/endless-writer.ts', import.meta.url)), place.home, place.databaseUrl ?? ''], { stdio: ['ignore', 'pipe', 'inherit'] })
    const exited = once(writer, 'exit')
    const acknowledged: number[] = []
    for await (const line of createInterface({ input: writer.stdout })) {
      acknowledged.push(Number(line))
      if (acknowledged.length === 300) writer.kill('SIGKILL')
    }
    await exited
    await using db = await place.open()
    const rows = await db.read.selectFrom('meta').select('key').where('key', 'like', '%:%').execute()
    const halves = new Map<string, number>()
    for (const { key } of rows) {
      const unit = key.split(':')[0] ?? ''
      halves.set(unit, (halves.get(unit) ?? 0) + 1)
    }
    expect([...halves.values()].every((count) => count === 2)).toBe(true)
    expect(acknowledged.filter((unit) => !halves.has(String(unit)))).toEqual([])
    if (dialect === 'sqlite') {
      using file = Object.assign(new Sqlite(join(place.home, 'swarm.sqlite'), { readonly: true }), { [Symbol.dispose](this: Sqlite.Database) { this.close() } })
      expect(file.pragma('integrity_check', { simple: true })).toBe('ok')
    }
  })

  if (dialect === 'sqlite') test('an existing SQLite database is copied before it is migrated', async () => {
    await using place = await make()
    {
      await using db = await place.open()
      await db.write((trx) => trx.insertInto('meta').values({ key: 'mine', value: 'kept' }).execute())
    }
    expect(existsSync(join(place.home, 'backups'))).toBe(false)
    {
      // As an older Swarm left it: the newest migration is not there yet.
      const file = new Sqlite(join(place.home, 'swarm.sqlite'))
      for (const { name } of file.prepare(`select name from sqlite_master where type = 'table' and name not in ('meta', 'events', 'kysely_migration', 'kysely_migration_lock') and name not like 'sqlite_%'`).all() as { name: string }[]) {
        file.pragma('foreign_keys = OFF')
        file.exec(`drop table ${name}`)
      }
      file.exec(`delete from kysely_migration where name <> '0000-events'; delete from meta where key = 'events_complete_since'`)
      file.close()
    }
    await using db = await place.open()
    expect((await db.migrations()).at(-1)).toBe(newest)
    const backups = readdirSync(join(place.home, 'backups'))
    expect(backups).toHaveLength(1)
    const copy = new Sqlite(join(place.home, 'backups', backups[0] ?? ''), { readonly: true })
    expect(copy.prepare(`select value from meta where key = 'mine'`).get()).toEqual({ value: 'kept' })
    copy.close()
  })
})
