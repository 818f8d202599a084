// Preloaded into a server or runner process (node --import): counts the boundaries between its steps, and kills it at one.
//   SWARM_CRASH_AT=N     SIGKILL at boundary N; 0 = never
//   SWARM_CRASH_LOG=FILE one line per boundary, "N LABEL", written before it counts
// A boundary is where something becomes durable or is said to somebody else: before and after a commit of the database that
// changed anything, a git that writes, a program of a microVM, a request to the server. It is plain JavaScript, because
// it must be in place before anything that it changes is imported.
import childProcess from 'node:child_process'
import { appendFileSync } from 'node:fs'
import { createRequire, syncBuiltinESMExports } from 'node:module'

// The server's own, not another copy of it.
const Database = createRequire(new URL('../../server/package.json', import.meta.url))('better-sqlite3')

const at = Number(process.env['SWARM_CRASH_AT'] ?? 0)
const log = process.env['SWARM_CRASH_LOG']
/** Reading changes nothing: a kill around it is the same as one at the next boundary. */
const GIT_WRITES = new Set(['update-ref', 'receive-pack', 'fetch', 'push', 'init', 'commit-tree', 'merge-tree', 'hash-object'])

let count = 0
function boundary(label) {
  count++
  if (log !== undefined) appendFileSync(log, `${count} ${label}\n`)
  if (count === at) process.kill(process.pid, 'SIGKILL')
}

const changes = new WeakMap()
const told = new WeakMap()
const exec = Database.prototype.exec
Database.prototype.exec = function (sql) {
  if (sql !== 'commit') return exec.call(this, sql)
  const total = this.prepare('select total_changes() as n').get().n
  if (total === changes.get(this)) return exec.call(this, sql)
  changes.set(this, total)
  const since = told.get(this)
  const what = since === undefined ? 'commit' : `commit ${this.prepare('select type from events where seq > ?').pluck().all(since).join(' ')}`.trim()
  told.set(this, this.prepare('select coalesce(max(seq), 0) from events').pluck().get())
  boundary(`before ${what}`)
  const result = exec.call(this, sql)
  boundary(`after ${what}`)
  return result
}

const spawn = childProcess.spawn
childProcess.spawn = (command, args, options) => {
  const label = labelOf(command, args)
  if (label !== null) boundary(`before ${label}`)
  const child = spawn(command, args, options)
  if (label !== null) child.once('exit', () => boundary(`after ${label}`))
  return child
}
syncBuiltinESMExports()

function labelOf(command, args) {
  if (!Array.isArray(args)) return null
  if (command !== 'git') return isProgram(args) ? `program ${command.split('/').at(-1)}` : null
  let index = 0
  while (args[index] === '-c') index += 2
  return GIT_WRITES.has(args[index]) ? `git ${args[index]}` : null
}

/** Programs of the process driver: a shell, or Node with the agent. esbuild's own service is none of ours. */
function isProgram(args) {
  return !args.some((arg) => String(arg).startsWith('--service='))
}

const fetched = globalThis.fetch
globalThis.fetch = async (input, init) => {
  const path = new URL(typeof input === 'string' ? input : input.url ?? input.href).pathname
  // A claim that waits and a beat come by the clock and change nothing by themselves.
  if (path === '/heartbeat') return fetched(input, init)
  boundary(`before ${init?.method ?? 'GET'} ${path}`)
  const answer = await fetched(input, init)
  boundary(`after ${init?.method ?? 'GET'} ${path}`)
  return answer
}
