import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { dirname, join } from 'node:path'
import { getCACertificates } from 'node:tls'
import { setTimeout as delay } from 'node:timers/promises'
import { DomainError } from '@swarm/core/errors.ts'
import { GUEST_AGENT_PROGRAM, trustEnvironment } from '@swarm/contract/guest-protocol.ts'
import { MARK_VARIABLE, killProcess, processesIn, processesMarked } from '../../host/processes.ts'
import { removeTree } from '../../host/remove-tree.ts'
import { readFolderBytes, readGroups } from '../../host/usage.ts'
import { bundleGuest } from '../../images/guest-bundle.ts'
import type { BuildProgress, Image } from '../../images/image.ts'
import { journalFolder, openVmJournal } from '../../vms/journal.ts'
import { describeOrphan, reclaimOrphans } from '../../vms/reclaim.ts'
import { tether } from '../../vms/tether.ts'
import type { ExecResult, RestoreOptions, Template, Vm, VmDriver, VmEnd, VmSize } from '../driver.ts'
import { runProcess, type RunningProcess } from './run-process.ts'

export interface ProcessDriverOptions {
  stateDir: string
  onNotice?: (notice: string) => void
}

/** Between two looks for what is left of a microVM that ends, ms: the kernel tells only the parent of the end of a process. */
const SWEEP_MS = 20

const WARNING = 'THE PROCESS DRIVER ISOLATES NOTHING: agents run as this user, on this host, with its network and its files. For development of Swarm only.'

/**
 * "VMs" that are plain processes in a temporary folder, with the interface of the real ones. /work and /work/repository are
 * mapped into that folder in argv, cwd and env. Only limits on wall clock and output hold.
 */
export async function createProcessDriver({ stateDir, onNotice = () => {} }: ProcessDriverOptions): Promise<VmDriver> {
  process.stderr.write(`\n  ${'!'.repeat(WARNING.length)}\n  ${WARNING}\n  ${'!'.repeat(WARNING.length)}\n\n`)
  onNotice(WARNING)
  const base = join(stateDir, 'processes')
  const journal = openVmJournal(journalFolder(stateDir))
  for (const orphan of await reclaimOrphans(journal, (error) => { onNotice(`what a dead runner left could not be removed: ${String(error)}`) })) onNotice(describeOrphan(orphan))
  const programs = `swarm-slot-programs-${randomBytes(6).toString('hex')}`
  journal.add(programs, [join(base, programs)])
  const live = new Set<Vm>()

  async function restore(template: Template, options: RestoreOptions): Promise<Vm> {
    const startedAt = performance.now()
    // Journaled before any of it exists, and the mark of all its processes: what a killed runner leaves is found by it.
    const slot = journal.newSlot()
    const folder = join(base, slot)
    journal.add(slot, [folder])
    journal.update(slot, { vmId: options.id })
    const tied = tether(slot)
    const [work, home, temporary] = [join(folder, 'work'), join(folder, 'home'), join(folder, 'tmp')]
    for (const path of [join(work, 'repository'), home, temporary]) await mkdir(path, { recursive: true })
    const agentProgram = join(template.directory, 'agent.mjs')
    const trusting = options.authority === undefined ? {} : await trust(folder, options.authority)
    let handler: ((stream: Duplex) => void) | null = null
    const proxy = await listen((socket) => (handler === null ? socket.destroy() : handler(socket)))
    const ended = Promise.withResolvers<VmEnd>()
    let ending: Promise<void> | null = null
    const running = new Set<RunningProcess>()
    let paused = false
    const mapped = (text: string) => (text === GUEST_AGENT_PROGRAM ? agentProgram : text.replace(/^\/work(?=$|\/repository(?:\/|$))/, work))

    const remaining = () => [...processesMarked(slot), ...processesIn([folder])]
    const end = (reason: VmEnd['reason'], detail: string): Promise<void> => {
      ending ??= (async () => {
        clearTimeout(wallClock)
        // What left its group (a daemon) as well, and what is being started meanwhile; it may hold the pipes of what is awaited here.
        for (let left = remaining(); left.length > 0; left = remaining()) {
          left.forEach(killProcess)
          await delay(SWEEP_MS)
        }
        await Promise.all([...running].map((each) => each.result))
        await new Promise<void>((resolve) => {
          proxy.server.close(() => resolve())
          for (const socket of proxy.sockets) socket.destroy()
        })
        tied[Symbol.dispose]()
        // Without its folder gone the record stays, and the next reclaiming tries again; the microVM is over all the same.
        removeTree(folder)
        journal.remove(slot)
      })().catch((error: unknown) => { onNotice(`what is left of ${options.id} could not be removed: ${String(error)}`) }).finally(() => { ended.resolve({ reason, detail }) })
      return ending
    }
    const wallClock = options.limits.wallMs === undefined ? undefined : setTimeout(() => void end('wall_clock', `it ran for ${options.limits.wallMs} ms`), options.limits.wallMs)

    const restoreMs = performance.now() - startedAt
    const vm: Vm = {
      id: options.id, driver: 'process', templateKey: template.key, startedMs: Date.now(), vmmMs: restoreMs, restoreMs,
      workspace: join(work, 'repository'), agentProgram, ended: ended.promise,
      async exec(request): Promise<ExecResult> {
        if (ending !== null) throw new DomainError('vm_ended', { id: options.id, ...(await ended.promise) })
        request.signal?.throwIfAborted()
        const url = `http://127.0.0.1:${proxy.port}`
        const env = {
          PATH: `${dirname(process.execPath)}:${process.env['PATH'] ?? '/usr/bin:/bin'}`, LANG: 'C.UTF-8', TZ: 'UTC', GIT_TERMINAL_PROMPT: '0', HOME: home, TMPDIR: temporary, [MARK_VARIABLE]: slot,
          http_proxy: url, https_proxy: url, all_proxy: url, HTTP_PROXY: url, HTTPS_PROXY: url, ALL_PROXY: url,
          no_proxy: 'localhost,127.0.0.1,::1', NO_PROXY: 'localhost,127.0.0.1,::1', NODE_USE_ENV_PROXY: '1', NODE_USE_SYSTEM_CA: '1', ...trusting,
          ...Object.fromEntries(Object.entries(request.env ?? {}).map(([name, value]) => [name, mapped(value)])),
        }
        const child = runProcess({ ...request, argv: request.argv.map(mapped), cwd: mapped(request.cwd ?? '/work'), env })
        running.add(child)
        if (paused) child.signal('SIGSTOP')
        const result = await child.result.finally(() => running.delete(child))
        request.signal?.throwIfAborted()
        if (ending !== null) throw new DomainError('vm_ended', { id: options.id, ...(await ended.promise) })
        return result
      },
      onForward: (next) => { handler = next },
      async stats() {
        if (ending !== null) throw new DomainError('vm_ended', { id: options.id, ...(await ended.promise) })
        const groups = new Set([...running].map((each) => each.group).filter((group) => group !== null))
        return { ...readGroups(groups), scratchBytes: await readFolderBytes(folder), egressBytes: proxy.bytesRead(), openForwards: proxy.sockets.size, uptimeMs: Date.now() - vm.startedMs }
      },
      get paused() { return paused },
      async pause() {
        paused = true
        for (const each of running) each.signal('SIGSTOP')
      },
      async resume() {
        paused = false
        for (const each of running) each.signal('SIGCONT')
      },
      kill: (reason) => end('killed', reason),
      [Symbol.asyncDispose]: () => end('disposed', 'it was no longer needed'),
    }
    live.add(vm)
    void vm.ended.then(() => live.delete(vm))
    return vm
  }

  return {
    name: 'process', isolates: false, unenforced: ['cpu', 'memory', 'disk', 'pids', 'egress'].map((limit) => `${limit}: the process driver limits nothing`),
    async buildTemplate(image: Image | null, size: VmSize, onProgress: (progress: BuildProgress) => void = () => {}): Promise<Template> {
      onProgress({ phase: 'template', detail: WARNING })
      const bundle = await bundleGuest()
      const directory = join(base, programs)
      mkdirSync(directory, { recursive: true })
      for (const [name, content] of bundle.files) writeFileSync(join(directory, name), content)
      return { key: bundle.digest, image, size, directory, builtAtMs: Date.now() }
    },
    restore,
    forkProblem: 'plain processes cannot be copied',
    live: () => [...live].map(({ id }) => id),
    async [Symbol.asyncDispose]() {
      await Promise.all([...live].map((vm) => vm[Symbol.asyncDispose]()))
      rmSync(join(base, programs), { recursive: true, force: true })
      journal.remove(programs)
      // Another process of this state folder may have something in them.
      for (const folder of [base, journal.directory]) if (existsSync(folder)) removeEmpty(folder)
    },
  }
}

/** What this host trusts and the authority, for the processes of one microVM. */
async function trust(folder: string, authority: string): Promise<Record<string, string>> {
  const [file, trusted] = [join(folder, 'authority.pem'), join(folder, 'trusted.pem')]
  await writeFile(file, authority)
  await writeFile(trusted, [...getCACertificates('default'), authority].join('\n'))
  return trustEnvironment(file, trusted)
}

function removeEmpty(folder: string): void {
  try {
    rmdirSync(folder)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOTEMPTY')) throw error
  }
}

interface Listener {
  server: Server
  port: number
  sockets: Set<Socket>
  /** Of all connections, closed ones too. */
  bytesRead(): number
}

function listen(onSocket: (socket: Socket) => void): Promise<Listener> {
  const sockets: Listener['sockets'] = new Set()
  let closedBytes = 0
  const bytesRead = () => [...sockets].reduce((sum, socket) => sum + socket.bytesRead, closedBytes)
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    socket.once('close', () => {
      sockets.delete(socket)
      closedBytes += socket.bytesRead
    })
    socket.on('error', () => socket.destroy())
    onSocket(socket)
  })
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      resolve({ server, port: typeof address === 'object' && address !== null ? address.port : 0, sockets, bytesRead })
    })
  })
}
