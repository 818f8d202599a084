import { randomUUID } from 'node:crypto'
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { describe } from 'vitest'
import type { Database, DatabaseOptions } from './database.ts'
import type { Dialect } from './dialect.ts'
import { openDatabase } from './open.ts'

/** A place for one test's database: open it as often as the test wants; disposal removes it. */
export interface TestDatabase extends AsyncDisposable {
  readonly dialect: Dialect
  readonly home: string
  readonly databaseUrl: string | undefined
  /** Opens it (migrating it at first) with strict units. */
  open(options?: Partial<DatabaseOptions>): Promise<Database>
}

/** A place for tests that are not about the database. */
export async function sqlitePlace(how?: 'empty'): Promise<TestDatabase> {
  const home = mkdtempSync(join(tmpdir(), 'swarm-db-'))
  const template = process.env['SWARM_TEST_SQLITE_TEMPLATE']
  if (how !== 'empty' && template !== undefined) copyFileSync(template, join(home, 'swarm.sqlite'))
  return {
    dialect: 'sqlite', home, databaseUrl: undefined,
    open: (options) => openDatabase({ home, strictUnits: true, ...options }),
    [Symbol.asyncDispose]: async () => rmSync(home, { recursive: true, force: true }),
  }
}

async function onServer(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}

/** @param template a database that is migrated already, which it begins as; empty unless given */
async function postgresPlace(server: string, template?: string): Promise<TestDatabase> {
  const home = mkdtempSync(join(tmpdir(), 'swarm-db-'))
  const name = `test_${randomUUID().replaceAll('-', '')}`
  await onServer(server, `create database ${name}${template === undefined ? '' : ` template ${template} strategy file_copy`}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  return {
    dialect: 'postgres', home, databaseUrl: url.href,
    open: (options) => openDatabase({ home, databaseUrl: url.href, strictUnits: true, ...options }),
    [Symbol.asyncDispose]: async () => {
      await onServer(server, `drop database ${name} with (force)`)
      rmSync(home, { recursive: true, force: true })
    },
  }
}

/**
 * One suite over both databases: `describe`s `suite` for SQLite and, where the run has a PostgreSQL, for PostgreSQL.
 * `make()` gives a fresh place: `await using place = await make(); await using db = await place.open()`. One that is to be opened with
 * migrations of the test's own, or whose first migration is the test, is `make('empty')`: others begin as copies of one that is migrated.
 */
export function eachDialect(suite: (dialect: Dialect, make: (how?: 'empty') => Promise<TestDatabase>) => void): void {
  describe('sqlite', () => { suite('sqlite', sqlitePlace) })
  const server = process.env['SWARM_TEST_POSTGRES']
  if (server !== undefined && server !== '') describe('postgres', () => { suite('postgres', (how) => postgresPlace(server, how === 'empty' ? undefined : process.env['SWARM_TEST_POSTGRES_TEMPLATE'])) })
  else describe.skip(`postgres (${process.env['SWARM_TEST_POSTGRES_MISSING'] ?? 'the run started none'})`, () => { suite('postgres', sqlitePlace) })
}
