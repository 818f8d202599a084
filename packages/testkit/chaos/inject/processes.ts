import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { identityOf, isAlive, type ProcessIdentity } from '@swarm/cli/platform/processes.ts'
import { createTicket, showTicket } from '@swarm/contract/endpoints/tickets.ts'
import { VmRecord } from '@swarm/runner/vms/journal.ts'
import { DYING_AGENT } from '../fleet.ts'
import { holdStopped } from '../keeper.ts'
import type { Installation } from '../installation.ts'
import { answered, lasting, seen, type Inject, type Site } from './site.ts'

/** The letter of /proc/<pid>/stat: R, S, T (stopped), …; null when it is gone. */
export function stateOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3)
  } catch {
    return null // it ended meanwhile
  }
}

/** kill -9, seen by /proc. A process is stopped first, so that one which ends by itself in that moment is not taken for killed. */
export async function killSeen(targets: readonly ProcessIdentity[], signal: AbortSignal): Promise<{ at: number } | null> {
  const living = targets.filter((target) => isAlive(target) && deliver(target.pid, 'SIGSTOP'))
  const stopped = await seen(() => (living.every(({ pid }) => stateOf(pid) === 'T' || stateOf(pid) === null || stateOf(pid) === 'Z') ? living.filter(({ pid }) => stateOf(pid) === 'T') : null), { signal, withinMs: 2_000 })
  for (const { pid } of living) deliver(pid, 'SIGKILL')
  if (stopped === null || stopped.length === 0) return null
  return await seen(() => (stopped.some(isAlive) ? null : { at: Date.now() }), { signal })
}

/** SIGSTOP, seen by /proc, and SIGCONT after `forMs`. */
export async function stopSeen(targets: readonly ProcessIdentity[], forMs: number, signal: AbortSignal): Promise<{ at: number } | null> {
  const living = targets.filter(isAlive)
  if (living.length === 0) return null
  await using _held = await holdStopped(living.map(({ pid }) => pid))
  const observed = await seen(() => (living.some(({ pid }) => stateOf(pid) === 'T') ? { at: Date.now() } : null), { signal, withinMs: 2_000 })
  await lasting(forMs, signal)
  return observed
}

function deliver(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name)
  } catch {
    return false // it ended meanwhile
  }
}

/** Folders of the process driver's microVMs; its other ones hold programs. */
const VM_FOLDER = /^(vm-|swarm-slot-[0-9a-f]{12}(\/|$))/

/** A microVM of the installation and the processes that it is. */
export interface VmProcesses { readonly name: string; readonly processes: readonly ProcessIdentity[] }

/** QEMU processes by the runner's journal; of the process driver, the processes that work in a folder of its microVMs. */
export function vmProcesses(installation: Pick<Installation, 'driver' | 'runnerFolder'>): VmProcesses[] {
  if (installation.driver === 'qemu') {
    return journaled(join(installation.runnerFolder, 'vms')).flatMap(({ vmId, process }) => (vmId !== null && process !== null && isAlive(process) ? [{ name: vmId, processes: [process] }] : []))
  }
  const base = `${join(installation.runnerFolder, 'processes')}/`
  const vms = new Map<string, ProcessIdentity[]>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const folder = workingFolder(name)
    if (folder === null || !folder.startsWith(base) || !VM_FOLDER.test(folder.slice(base.length))) continue
    const identity = identityOf(Number(name))
    const vm = folder.slice(base.length).split('/')[0]!
    if (identity !== null) vms.set(vm, [...vms.get(vm) ?? [], identity])
  }
  return [...vms].map(([name, processes]) => ({ name, processes: processes.toSorted((a, b) => a.pid - b.pid) })).toSorted((a, b) => a.processes[0]!.pid - b.processes[0]!.pid)
}

function journaled(folder: string): VmRecord[] {
  try {
    return readdirSync(folder).filter((name) => name.endsWith('.json')).flatMap((name) => {
      const record = VmRecord.safeParse(JSON.parse(readFileSync(join(folder, name), 'utf8')))
      return record.success ? [record.data] : []
    })
  } catch {
    return [] // it changes while we read; the next look is another
  }
}

function workingFolder(pid: string): string | null {
  try {
    return readlinkSync(`/proc/${pid}/cwd`)
  } catch {
    return null // it ended meanwhile
  }
}

async function aVm(site: Site, target: number): Promise<VmProcesses | null> {
  return await seen(() => {
    const vms = vmProcesses(site.installation)
    return vms.length === 0 ? null : vms[target % vms.length]!
  }, { signal: site.signal, withinMs: site.installation.pace.patienceMs / 4 })
}

/** It may just be starting again. */
async function up(which: 'server' | 'runner', { installation, signal }: Site): Promise<ProcessIdentity | null> {
  return await seen(() => installation[which].identity(), { signal })
}
const kill = (which: 'server' | 'runner'): Inject => async (_fault, site) => {
  const { signal } = site
  const identity = await up(which, site)
  return identity === null ? null : await killSeen([identity], signal)
}
const stop = (which: 'server' | 'runner'): Inject => async (fault, site) => {
  const { signal } = site
  const identity = await up(which, site)
  return identity === null ? null : await stopSeen([identity], fault.forMs, signal)
}

async function diesInside({ installation: { client, pace }, projectId, gamma, signal }: Site): Promise<{ at: number } | null> {
  const { id } = await answered(() => client.call(createTicket, { body: { projectId, repositoryId: gamma.repositoryId, title: 'dies', agent: DYING_AGENT, priority: 10 } }, { signal }), signal)
  return await seen(async () => {
    const { history } = await answered(() => client.call(showTicket, { params: { ticketId: id } }, { signal }), signal)
    return history.some(({ failureReason }) => failureReason === 'agent_crashed') ? { at: Date.now() } : null
  }, { signal, withinMs: pace.patienceMs })
}

export const PROCESS_FAULTS = {
  'runner-kill': kill('runner'), 'runner-stop-short': stop('runner'), 'runner-stop-long': stop('runner'),
  'server-kill': kill('server'), 'server-stop-short': stop('server'), 'server-stop-long': stop('server'),
  async 'vm-kill'(fault, site) {
    const vm = await aVm(site, fault.target)
    return vm === null ? null : await killSeen(vm.processes, site.signal)
  },
  async 'vm-stop'(fault, site) {
    const vm = await aVm(site, fault.target)
    return vm === null ? null : await stopSeen(vm.processes, fault.forMs, site.signal)
  },
  /** One process inside: the agent, a command of it, or git. Those of a real microVM are reached by a ticket whose command kills its agent. */
  async 'guest-kill'(fault, site) {
    if (site.installation.driver === 'qemu') return await diesInside(site)
    const vm = await aVm(site, fault.target)
    return vm === null ? null : await killSeen([vm.processes[fault.target % vm.processes.length]!], site.signal)
  },
} satisfies Record<string, Inject>
