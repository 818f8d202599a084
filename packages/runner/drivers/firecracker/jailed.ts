import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { basename, dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { DomainError } from '@swarm/core/errors.ts'
import { createCgroups, removeCgroup, type CgroupSupport } from '../../host/cgroup.ts'
import { identifyProcess, killProcess, processesMarked, type ProcessIdentity } from '../../host/processes.ts'
import { removeTree } from '../../host/remove-tree.ts'
import type { UidRange } from '../../host/users.ts'
import type { VmJournal } from '../../vms/journal.ts'
import { withTimeout } from '../../vms/time-limit.ts'
import { tether } from '../../vms/tether.ts'
import { connectApi, type FirecrackerApi } from './api.ts'
import type { FirecrackerBinaries } from './binaries.ts'
import { makeJail, type Jail } from './jail.ts'
import { jailerArguments } from './jailer.ts'

/** The jailer copies the program and makes namespaces, some 20 ms; more when many start at once. */
const START_TIMEOUT_MS = 30_000
/** Nothing tells when the socket of the API is there: it is looked for this often. */
const SOCKET_POLL_MS = 5
/** Between two looks for what is left of one that ends, ms. */
const SWEEP_MS = 50
/** Kept of what jailer and Firecracker say on stderr, to explain their end. */
const STDERR_BYTES = 4_096

export interface JailHost {
  binaries: FirecrackerBinaries
  journal: VmJournal
  cgroups: CgroupSupport
  /** Folder of all jails. */
  jails: string
  uids: UidRange
}

/** A Firecracker in its jail, whose API answers. */
export interface JailedFirecracker {
  readonly name: string
  readonly jail: Jail
  readonly identity: ProcessIdentity
  readonly api: FirecrackerApi
  /** Resolves when the process is over, however that came; the words are for people. */
  readonly exited: Promise<string>
  /** Removes process, jail, cgroups and the record. Idempotent. @param cgroups beside the one that it was started in */
  release(cgroups: readonly string[]): Promise<void>
}

/**
 * Starts Firecracker by the jailer. Everything is journaled before it is made, and nothing is left of a start that fails.
 * @param fill puts files into the jail before anything runs in it
 * @param limits memoryBytes of the whole process; fileBytes of the largest file that it may write
 * @throws DomainError vm_start_failed with the end of what was said
 */
export async function startJailed(host: JailHost, name: string, limits: { memoryBytes: number; fileBytes: number }, fill: (jail: Jail) => Promise<void>): Promise<JailedFirecracker> {
  const { binaries, journal, cgroups, jails, uids } = host
  const own = createCgroups(cgroups, name, { memoryBytes: limits.memoryBytes }).paths
  journal.add(name, [join(jails, name)])
  journal.update(name, { cgroups: own })
  const undo: (() => Promise<void> | void)[] = [() => journal.remove(name), () => removeTree(join(jails, name))]
  let extra: readonly string[] = []
  let released: Promise<void> | null = null
  const release = (more: readonly string[]) => {
    extra = more
    // The last made is the first to go: a process before its cgroup, its folder and its record.
    released ??= (async () => { for (const each of undo.toReversed()) await each() })()
    return released
  }
  try {
    const jail = makeJail(jails, name, binaries.firecracker, uids)
    undo.push(() => jail[Symbol.dispose](), async () => { for (const path of new Set([...own, ...extra])) await removeCgroup(path) })
    await fill(jail)
    for (const file of ['log', 'metrics', 'console'] as const) jail.give(file)
    const tied = tether(name)
    undo.push(() => tied[Symbol.dispose]())
    const [program, ...argv] = jailerArguments({ binaries, name, base: jail.folder, uid: jail.uid, cgroups, ...limits })
    // Its stdout is the guest's console, which a guest could flood; its stderr is ours, and is open as long as it lives.
    const child = spawn(program, argv, { stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: process.env['PATH'] ?? '' } })
    let stderr = ''
    child.stderr.on('data', (chunk: Buffer) => { stderr = (stderr + chunk.toString('utf8')).slice(-STDERR_BYTES) })
    let identity: ProcessIdentity | null = null
    const exited = new Promise<string>((resolve) => {
      child.once('error', (error) => resolve(error.message))
      child.once('close', () => resolve(`Firecracker has ended${stderr.trim() === '' ? '' : `: ${stderr.trim()}`}${logOf(jail)}`))
    })
    undo.push(async () => {
      // Not known yet when the jailer has not come that far: then it is found by its name, again and again, since that may just be starting it.
      for (let over = false; !over;) {
        for (const each of identity === null ? processesMarked(name) : [identity]) killProcess(each)
        over = await Promise.race([exited.then(() => true), delay(SWEEP_MS, false)])
      }
    })
    const died = exited.then((detail): never => { throw new DomainError('vm_start_failed', { problem: detail }) })
    died.catch(() => {}) // it is raced below; later ends are `exited`
    const started = withTimeout((async () => {
      // The jailer ends when its child, in a pid namespace of its own, has begun; it has written down which process that is.
      const [code] = await once(child, 'exit') as [number | null]
      if (code !== 0) return await died
      const pidFile = join(dirname(jail.file('log')), `${basename(binaries.firecracker)}.pid`)
      identity = identifyProcess(existsSync(pidFile) ? Number(readFileSync(pidFile, 'utf8')) : 0)
      if (identity === null) return await died
      journal.update(name, { process: identity })
      await untilListening(jail.socket('apiSocket'), exited)
      return identity
    })(), START_TIMEOUT_MS, () => `Firecracker did not listen within ${START_TIMEOUT_MS} ms${logOf(jail)}`)
    const running = await Promise.race([started, died])
    const api = connectApi(jail.socket('apiSocket'))
    undo.push(() => api[Symbol.dispose]())
    return { name, jail, identity: running, api, exited, release }
  } catch (error) {
    await release([])
    throw error
  }
}

const logOf = (jail: Jail) => {
  const log = jail.tail('log')
  return log === '' ? '' : `; its log ends with: ${log}`
}

/** An error of the API, or a guest that was lost before it was anybody's, with the end of the log, where Firecracker gives the cause. */
export function explained(error: unknown, jail: Jail): unknown {
  if (error instanceof DomainError && error.code !== 'vm_ended') return error
  return new DomainError('vm_start_failed', { problem: `${error instanceof Error ? error.message : String(error)}${logOf(jail)}` }, { cause: error })
}

async function untilListening(socketPath: string, exited: Promise<string>): Promise<void> {
  const ended = new AbortController()
  void exited.then(() => ended.abort())
  while (!ended.signal.aborted && !await canConnect(socketPath)) await delay(SOCKET_POLL_MS)
}

function canConnect(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ path: socketPath })
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}
