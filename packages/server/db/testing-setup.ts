import { execFileSync, spawn } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import pg from 'pg'
import { openDatabase } from './open.ts'

/*
 * vitest globalSetup: one private PostgreSQL for the run, on a Unix socket in a folder of its own, without fsync. Its URL
 * goes to the tests by SWARM_TEST_POSTGRES (and in SWARM_TEST_POSTGRES_TEMPLATE the name of a migrated database), or the reason why there is none by SWARM_TEST_POSTGRES_MISSING.
 */

/** Folder with initdb and postgres, or undefined. */
function findBinaries(): string | undefined {
  const installed = existsSync('/usr/lib/postgresql')
    ? readdirSync('/usr/lib/postgresql').sort((a, b) => Number(b) - Number(a)).map((version) => join('/usr/lib/postgresql', version, 'bin'))
    : []
  const folders = [...installed, ...(process.env['PATH'] ?? '').split(delimiter)]
  return folders.find((folder) => folder !== '' && existsSync(join(folder, 'initdb')) && existsSync(join(folder, 'postgres')))
}

/** root may not run PostgreSQL: argv prefix that runs a command as somebody else, and that user's ids. */
function unprivileged(): { prefix: string[], uid: number, gid: number } | undefined {
  if (userInfo().uid !== 0) return undefined
  for (const user of ['postgres', 'nobody']) {
    try {
      const id = (flag: string): number => Number(execFileSync('id', [flag, user], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }))
      const [uid, gid] = [id('-u'), id('-g')]
      return { prefix: ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups'], uid, gid }
    } catch {
      continue
    }
  }
  throw new Error('neither the user postgres nor nobody exists to run PostgreSQL as')
}

/** @returns the URL of a fresh cluster and how to end it, or why there is none */
export async function startPostgres(): Promise<{ url: string, stop: () => Promise<void> } | { missing: string }> {
  const bin = findBinaries()
  if (bin === undefined) return { missing: 'no PostgreSQL binaries under /usr/lib/postgresql or in PATH (Debian: apt-get install postgresql)' }
  const user = unprivileged()
  const folder = mkdtempSync(join(tmpdir(), 'swarm-postgres-'))
  if (user) chownSync(folder, user.uid, user.gid)
  const data = join(folder, 'data')
  const argv = (...command: string[]): [string, string[]] => {
    const [program, ...rest] = [...(user?.prefix ?? []), ...command] as [string, ...string[]]
    return [program, rest]
  }
  try {
    execFileSync(...argv(join(bin, 'initdb'), '-D', data, '-U', 'swarm', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'), { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
    const server = spawn(...argv(join(bin, 'postgres'), '-D', data, '-k', folder, '-c', 'listen_addresses=', '-c', 'fsync=off',
      '-c', 'max_connections=300', '-c', 'shared_buffers=32MB', '-c', 'log_min_messages=panic'), { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
    const exited = new Promise<void>((resolve) => { server.once('exit', () => resolve()) })
    await new Promise<void>((resolve, reject) => {
      // log_min_messages hides its "ready" line: the socket's lock file appears once it listens, the query below waits for the rest.
      createInterface({ input: server.stderr }).on('line', (line) => { process.stderr.write(`postgres: ${line}\n`) })
      server.once('exit', (code) => reject(new Error(`postgres ended at start with code ${code}`)))
      void waitUntilReady(join(bin, 'pg_isready'), folder).then(resolve, reject)
    })
    return {
      url: `postgres://swarm@localhost/postgres?host=${encodeURIComponent(folder)}`,
      stop: async () => {
        // Immediate shutdown: nothing in there is wanted again.
        server.kill('SIGQUIT')
        await exited
        rmSync(folder, { recursive: true, force: true })
      },
    }
  } catch (error) {
    rmSync(folder, { recursive: true, force: true })
    throw error
  }
}

async function waitUntilReady(pgIsReady: string, folder: string): Promise<void> {
  const deadline = Date.now() + 30_000
  for (;;) {
    const ready = await new Promise<boolean>((resolve) => {
      spawn(pgIsReady, ['-h', folder, '-q', '-t', '1'], { stdio: 'ignore' }).once('exit', (code) => resolve(code === 0))
    })
    if (ready) return
    if (Date.now() > deadline) throw new Error('postgres was not ready within 30 s')
  }
}

/** @returns the name of a new database with every migration, to which nobody is connected */
async function migratedDatabase(server: string): Promise<string> {
  const name = 'swarm_template'
  const client = new pg.Client({ connectionString: server })
  await client.connect()
  await client.query(`create database ${name}`)
  await client.end()
  const home = mkdtempSync(join(tmpdir(), 'swarm-db-'))
  await using opened = new AsyncDisposableStack()
  opened.defer(() => { rmSync(home, { recursive: true, force: true }) })
  opened.use(await openDatabase({ home, databaseUrl: Object.assign(new URL(server), { pathname: `/${name}` }).href, strictUnits: true }))
  return name
}

/** A SQLite database with every migration, in a folder of its own. */
async function migratedFile(): Promise<Disposable & { path: string }> {
  const home = mkdtempSync(join(tmpdir(), 'swarm-db-'))
  const db = await openDatabase({ home, strictUnits: true })
  await db[Symbol.asyncDispose]()
  return { path: join(home, 'swarm.sqlite'), [Symbol.dispose]: () => { rmSync(home, { recursive: true, force: true }) } }
}

export default async function setup(): Promise<() => Promise<void>> {
  const file = await migratedFile()
  process.env['SWARM_TEST_SQLITE_TEMPLATE'] = file.path
  const stop = await setUpPostgres()
  return async () => {
    file[Symbol.dispose]()
    await stop()
  }
}

async function setUpPostgres(): Promise<() => Promise<void>> {
  const given = process.env['SWARM_TEST_POSTGRES']
  if (given !== undefined && given !== '') return async () => undefined
  const started = await startPostgres()
  if ('missing' in started) {
    if (process.env['CI'] === 'true') throw new Error(`PostgreSQL tests cannot run: ${started.missing}`)
    process.stderr.write(`PostgreSQL tests are skipped: ${started.missing}\n`)
    process.env['SWARM_TEST_POSTGRES_MISSING'] = started.missing
    return async () => undefined
  }
  process.env['SWARM_TEST_POSTGRES'] = started.url
  process.env['SWARM_TEST_POSTGRES_TEMPLATE'] = await migratedDatabase(started.url)
  return started.stop
}
