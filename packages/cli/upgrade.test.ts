import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { alterDatabase, columnOf, makeDesk, type Desk } from './testing.ts'

const RUN_MS = 240_000
const START = ['start', '--port', '0', '--no-runner', '--json']

const migrations = (path: string): string[] => {
  expect(columnOf(path, 'pragma integrity_check')).toEqual(['ok'])
  return columnOf(path, 'select name from kysely_migration order by name')
}
const backups = (desk: Desk): string[] => (existsSync(join(desk.home, 'backups')) ? readdirSync(join(desk.home, 'backups')) : []).filter((name) => name.endsWith('.sqlite')).sort()

/** The database of an installation of an older Swarm, which knew the first migration only, with one row in it. */
async function olderInstallation(desk: Desk): Promise<void> {
  const open = spawn(process.execPath, [fileURLToPath(new URL('../server/db/fixtures/older-installation.ts', import.meta.url)), desk.home], { stdio: ['ignore', 'inherit', 'inherit'] })
  expect(await once(open, 'close')).toEqual([0, null])
}

test('a start of a newer Swarm keeps the database as it was before it migrates, and that copy can be restored', { timeout: RUN_MS }, async () => {
  await using desk = makeDesk()
  await olderInstallation(desk)
  const path = join(desk.home, 'swarm.sqlite')
  expect(migrations(path)).toEqual(['0000-events'])
  expect(await desk.swarm(START)).toMatchObject({ code: 0 })
  const [kept = ''] = backups(desk)
  expect(kept).toMatch(/^swarm-.*-before-0001-domain\.sqlite$/)
  expect(migrations(join(desk.home, 'backups', kept))).toEqual(['0000-events'])
  await desk.swarm(['stop'])
  expect(migrations(path).length).toBeGreaterThan(1)
  // Nothing to migrate, nothing to keep.
  expect(await desk.swarm(START)).toMatchObject({ code: 0 })
  expect(backups(desk)).toEqual([kept])
  await desk.swarm(['stop'])
  const restored = await desk.swarm(['restore', join(desk.home, 'backups', kept), '--force', '--json'])
  expect(restored, restored.stderr).toMatchObject({ code: 0, json: { migrations: ['0000-events'] } })
  expect(migrations(path)).toEqual(['0000-events'])
})

test('a database of a newer Swarm is refused by its name, and left as it is', { timeout: RUN_MS }, async () => {
  await using desk = makeDesk()
  expect(await desk.swarm(START)).toMatchObject({ code: 0 })
  await desk.swarm(['stop'])
  const path = join(desk.home, 'swarm.sqlite')
  alterDatabase(path, 'insert into kysely_migration (name, timestamp) values (\'9999-future\', \'2030\')')
  const refused = await desk.swarm(START)
  expect(refused).toMatchObject({ code: 3, json: { error: { code: 'database_newer', message: expect.stringContaining('9999-future') as string, remedy: expect.stringContaining('backup') as string } } })
  expect(migrations(path).at(-1)).toBe('9999-future')
  expect(backups(desk)).toEqual([])
})

test('a migration that is killed in its middle leaves the state before it, with its copy, and the next start goes on', { timeout: RUN_MS }, async () => {
  await using desk = makeDesk()
  await olderInstallation(desk)
  const path = join(desk.home, 'swarm.sqlite')
  const migrating = spawn(process.execPath, [fileURLToPath(new URL('../server/db/fixtures/endless-migration.ts', import.meta.url)), desk.home], { stdio: ['ignore', 'pipe', 'inherit'] })
  for await (const line of createInterface({ input: migrating.stdout })) if (line === 'in the middle') break
  migrating.kill('SIGKILL')
  await once(migrating, 'close')
  expect(migrations(path)).toEqual(['0000-events'])
  expect(columnOf(path, 'select name from sqlite_master where name = \'half\'')).toEqual([])
  expect(backups(desk)).toHaveLength(1)
  expect(await desk.swarm(START)).toMatchObject({ code: 0 })
  expect(migrations(path).length).toBeGreaterThan(1)
})
