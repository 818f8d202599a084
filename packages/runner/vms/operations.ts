import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { ApiError } from '@swarm/contract/errors.ts'
import { endOperation, type ForkedVm, nextOperations, type Operation, type VmLogs } from '@swarm/contract/vm-operations.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { makeId } from '@swarm/core/ids.ts'
import type { z } from 'zod'
import type { Vm, VmDriver } from '../drivers/driver.ts'
import type { Place } from '../host/admission.ts'
import type { ServerLink } from '../link/server-link.ts'
import { runExecStream } from './exec-stream.ts'
import type { RegisteredVm, VmRegistry } from './registry.ts'
import { readConsole } from './sampling.ts'

/** How long the server may hold the question for operations, ms. */
const WAIT_MS = 25_000
/** What came of an operation is told for so long; its requester waits no longer. */
const TELL_MS = 30_000
const AGAIN_MS = 200
/** For room for a fork; what was never to be had is refused at once. */
const ROOM_MS = 5_000

export interface OperationsOptions {
  readonly link: ServerLink
  readonly vms: VmRegistry
  readonly driver: VmDriver
  /** Room on this host for a fork of a microVM that it has. */
  readonly acquireFork: (vm: RegisteredVm, signal: AbortSignal) => Promise<Place>
  /** Why it has none, in words. */
  readonly noRoom: () => string | null
  readonly bootId: string
  readonly serverUrl: string
  readonly token: string
  /** Aborted when this runner stops, or was replaced. */
  readonly closing: AbortSignal
  readonly onTrouble: (error: unknown, what: string) => void
}

/** Asks for what people want done to the microVMs of this runner, and does it, each by itself. */
export function startOperations(options: OperationsOptions): AsyncDisposable {
  const { link, vms, bootId, onTrouble } = options
  const ended = new AbortController()
  const signal = AbortSignal.any([ended.signal, options.closing])
  const underWay = new Set<Promise<void>>()

  async function ask(): Promise<void> {
    while (!signal.aborted) {
      for (const operation of await next()) {
        const job = carryOut(operation).catch((error: unknown) => { if (!signal.aborted) onTrouble(error, `${operation.input.kind} of ${operation.vmId}`) }).finally(() => underWay.delete(job))
        underWay.add(job)
      }
    }
  }

  /** A server that only fails for now is asked again. */
  async function next(): Promise<Operation[]> {
    try {
      return (await link.call(nextOperations, { body: { bootId, waitMs: WAIT_MS } }, signal)).operations
    } catch (error) {
      if (!(error instanceof ApiError) || error.status < 500) throw error
      onTrouble(error, 'the server cannot give operations on microVMs')
      await delay(AGAIN_MS, undefined, { signal })
      return []
    }
  }

  async function carryOut({ id, vmId, correlationId, input }: Operation): Promise<void> {
    try {
      if (input.kind === 'exec' || input.kind === 'shell') return await runExecStream({ id, vmId, correlationId, start: input.start }, () => answering(vmId), { serverUrl: options.serverUrl, token: options.token, signal })
      const entry = requireEntry(vmId, input.kind === 'logs')
      const logs = input.kind === 'logs' ? await readLogs(entry, input.bytes) : undefined
      if (input.kind === 'kill') await entry.vm.kill(input.reason)
      if (input.kind === 'pause') await entry.vm.pause()
      if (input.kind === 'resume') await entry.vm.resume()
      if (input.kind === 'fork') return await fork(entry, { id, correlationId, ...input })
      await tell({ operationId: id, failure: null, ...(logs === undefined ? {} : { logs }) })
    } catch (error) {
      if (signal.aborted) return
      await tell({ operationId: id, failure: (error instanceof Error ? error.message : String(error)).slice(0, 2_000) })
    }
  }

  function requireEntry(vmId: string, orEnded = false): RegisteredVm {
    const entry = vms.find(vmId)
    if (!entry || (entry.ended && !orEnded)) throw new DomainError('vm_ended', { id: vmId, reason: 'gone', detail: entry ? 'it has just ended' : 'this runner does not have it, or not any more' })
    return entry
  }

  function answering(vmId: string): Vm {
    const { vm } = requireEntry(vmId)
    if (vm.paused) throw new DomainError('vm_refused', { id: vmId, problem: 'it is paused' })
    return vm
  }

  /** Children of a microVM, held to what it is, that end by themselves. Nobody takes their connections: they have no way out. */
  async function fork(entry: RegisteredVm, { id: operationId, count, wallMs, correlationId }: { id: string; count: number; wallMs: number; correlationId: string }): Promise<void> {
    const { driver } = options
    const { vm, limits, size } = entry
    if (!driver.fork) throw new DomainError('vm_refused', { id: vm.id, problem: driver.forkProblem ?? `the driver ${driver.name} does not fork` })
    const held = { ...limits, wallMs }
    const places = await room(entry, count)
    const children = await driver.fork(vm, Array.from({ length: count }, () => ({ id: makeId('vm', randomBytes(8)), limits: held, correlationId }))).catch((error: unknown) => {
      for (const place of places) place[Symbol.dispose]()
      throw error
    })
    for (const [at, child] of children.entries()) {
      places[at]?.occupy(() => child.stats())
      void child.ended.then(() => { places[at]?.[Symbol.dispose]() })
      vms.add(child, held, size)
    }
    let recorded = false
    try {
      recorded = await tell({ operationId, failure: null, forked: children.map(({ id, restoreMs }) => ({ id, restoreMs, limits: held })) })
    } finally {
      // Nobody waits for them any more, and nobody would know of them.
      if (!recorded) await Promise.all(children.map((child) => child.kill('its fork came too late')))
    }
  }

  /** A person waits for it, so it does not wait long. */
  async function room(entry: RegisteredVm, count: number): Promise<Place[]> {
    const patience = new AbortController()
    const timer = setTimeout(() => {
      patience.abort(new DomainError('vm_refused', { id: entry.vm.id, problem: `its host has no room for ${count} like it: ${options.noRoom() ?? 'others wait for it too'}` }))
    }, ROOM_MS)
    const asked = await Promise.allSettled(Array.from({ length: count }, () => options.acquireFork(entry, AbortSignal.any([signal, patience.signal]))))
    clearTimeout(timer)
    const places = asked.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
    const refused = asked.find((each) => each.status === 'rejected')
    if (refused === undefined) return places
    for (const place of places) place[Symbol.dispose]()
    throw refused.reason
  }

  /** Logs must meet the replica whose client waits for them. */
  async function tell(body: { operationId: string; failure: string | null; logs?: VmLogs; forked?: z.input<typeof ForkedVm>[] }): Promise<boolean> {
    for (const until = performance.now() + TELL_MS; ;) {
      try {
        return (await link.call(endOperation, { body }, AbortSignal.any([signal, AbortSignal.timeout(TELL_MS)]))).recorded
      } catch (error) {
        if (!(error instanceof ApiError) || error.code !== 'vm_operation_elsewhere' || performance.now() > until) throw error
      }
      await delay(AGAIN_MS, undefined, { signal })
    }
  }

  const asking = ask().catch((error: unknown) => { if (!signal.aborted) onTrouble(error, 'no more operations on microVMs are taken') })
  return {
    async [Symbol.asyncDispose]() {
      ended.abort(new Error('the runner stops'))
      await Promise.all([asking, ...underWay])
    },
  }
}

async function readLogs(entry: RegisteredVm, bytes: number): Promise<VmLogs> {
  // That of one that is over was read while it lived.
  if (!entry.ended) await readConsole(entry)
  const [console, output] = [entry.console.text(), entry.output.text()]
  return { console: console.slice(-bytes), output: output.slice(-bytes), truncated: console.length > bytes || output.length > bytes }
}
