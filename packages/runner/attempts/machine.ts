import { randomBytes } from 'node:crypto'
import type { Duplex } from 'node:stream'
import { makeId } from '@swarm/core/ids.ts'
import type { Work } from '@swarm/contract/runner-protocol.ts'
import type { RestoreOptions, Template, Vm, VmDriver } from '../drivers/driver.ts'
import type { Place } from '../host/admission.ts'
import type { ServerLink } from '../link/server-link.ts'
import type { RegisteredVm, VmRegistry } from '../vms/registry.ts'
import type { Authority } from '../egress/authority.ts'
import type { EgressProxy } from '../egress/proxy.ts'
import type { SwarmRoutes } from '../egress/routes.ts'
import type { EgressSecrets } from '../egress/secrets.ts'
import type { BuildProgress } from '../images/image.ts'
import { reportPreparation } from './preparation.ts'
import type { Reporter } from './reporter.ts'
import { setupLayer } from './setup-layer.ts'
import { WorkFailure } from './work-failure.ts'
import { fetchSecrets } from './work-secrets.ts'

/** Past the work's own limit, for saving what it did: only then the microVM is killed. */
const SAVING_MS = 300_000
/** A wait for room that is shorter is not worth a word. */
const NOTICED_MS = 1_000

export interface Machines {
  readonly driver: VmDriver
  /** Brings the cache of images and layers within its limit; a failure is no matter of the work. */
  prune(): Promise<void>
  /** Where layers of setups are kept; null when the driver's microVMs cannot start from one. */
  readonly cache: string | null
  /** Those that run for work, with what they wrote and use. */
  readonly vms: VmRegistry
  /** Waits until a microVM of the usual size would have room, and nobody who has work waits for any. */
  untilRoom(signal: AbortSignal): Promise<void>
  /** Waits for its turn and for room for the microVM of this work. @throws DomainError vm_too_large */
  acquire(work: Work, signal: AbortSignal): Promise<Place>
  /** The same for a fork of this microVM. */
  acquireFork(vm: Pick<RegisteredVm, 'limits' | 'size'>, signal: AbortSignal): Promise<Place>
  /** Why this host has room for no further microVM, in words; null while nobody waits. */
  noRoom(): string | null
  /** Told whenever that changes. */
  onNoRoom(listener: () => void): void
  /** The template for work with these needs, built when it does not exist yet. */
  template(work: Work, onProgress: (progress: BuildProgress) => void): Promise<Template>
  /** Has a template made before work needs it; `signal` ends the build of an image that this began. */
  prepare(wanted: { image: Work['image']; limits: Pick<Work['limits'], 'memoryMb' | 'diskMb'> }, signal: AbortSignal): Promise<void>
  /** The ways of this work to the server, with its token. */
  routes(work: Work): Required<SwarmRoutes>
  /** A proxy for one microVM, with the hosts of its project and these routes. `permit` throws when the lease of the work is over. */
  proxy(work: Work, onRefusal: Reporter['refusal'], permit: () => void, routes: SwarmRoutes, secrets: EgressSecrets | null): Promise<EgressProxy>
  /** Who ends TLS for hosts that get secrets, on this host. */
  authority(): Promise<Authority>
}

/** What a piece of work is carried out with. */
export interface WorkDependencies {
  readonly link: ServerLink
  readonly machines: Machines
  /** Room for its microVM, once there is any. */
  readonly place: Promise<Place>
  readonly reporter: Reporter
  /** Aborted when the work must end: the lease is gone, it was stopped (the reason says why), or the runner goes down. */
  readonly stop: AbortSignal
  /** Aborted when the lease is gone: nothing may be written any more. */
  readonly lost: AbortSignal
  /** Throws when the lease is over. */
  readonly permit: () => void
  readonly onTrouble: (error: unknown, what: string) => void
}

export interface StartedMachine {
  readonly vm: Vm
  /** Settles when the end of the microVM was reported. */
  readonly ended: Promise<void>
}

/** Waits for room; a wait that people could notice is a step of its own, with the reason. */
async function untilPlaced({ machines, place, reporter }: WorkDependencies): Promise<Place> {
  const startedAt = performance.now()
  let told = false
  const timer = setTimeout(() => {
    told = true
    reporter.step({ name: 'room', state: 'started', detail: `waits for room: ${machines.noRoom() ?? 'its turn'}` })
  }, NOTICED_MS)
  try {
    return await place
  } finally {
    clearTimeout(timer)
    if (told) reporter.step({ name: 'room', state: 'done', wallMs: performance.now() - startedAt })
  }
}

export interface Provisioned extends StartedMachine {
  readonly proxy: EgressProxy
  /** Key of the layer that it started from, which has what the setup command wrote; null when that is to be run. */
  readonly layer: string | null
}

/** Restores a microVM for a piece of work, with its way out, once there is room for it and all that it starts from was made. The caller disposes it. */
export async function provision(deps: WorkDependencies, work: Work): Promise<Provisioned> {
  const { machines, reporter, permit } = deps
  const held = await untilPlaced(deps)
  const preparation = reportPreparation(reporter)
  const template = await machines.template(work, preparation.onProgress)
  held.templateMade()
  const secrets = await fetchSecrets(deps, work)
  const start = (proxy: EgressProxy, scratch?: string) => startMachine(machines, work, template, proxy, reporter, held, { ...(scratch === undefined ? {} : { scratch }), ...(secrets === null ? {} : { authority: secrets.authority.certificate }) })
  // In the same place: the microVM of the layer is over before that of the work begins, and takes no more than it.
  using layer = await setupLayer(work, template, deps, { onProgress: preparation.onProgress, start, secrets })
  preparation.done()
  const proxy = await machines.proxy(work, (refusal) => { reporter.refusal(refusal) }, permit, machines.routes(work), secrets)
  return { ...await start(proxy, layer?.disk), proxy, layer: layer?.key ?? null }
}

/** Restores a microVM in the name of a piece of work and in its place, and reports it. It takes the proxy over. @param extras the disk that it starts from, and whom it trusts */
async function startMachine(machines: Machines, work: Work, template: Template, proxy: EgressProxy, reporter: Reporter, held: Place, extras: Pick<RestoreOptions, 'scratch' | 'authority'>): Promise<StartedMachine> {
  const id = makeId('vm', randomBytes(8))
  const about = { id, driver: machines.driver.name, templateKey: template.key, imageDigest: template.image?.digest ?? null }
  const limits = { cpuShare: work.limits.cpu, pids: work.limits.pids, wallMs: Math.round(work.limits.minutes * 60_000) + SAVING_MS, egressBytes: work.limits.egressBytes }
  reporter.vm({ ...about, state: 'starting', size: template.size, limits })
  let vm: Vm
  try {
    vm = machines.vms.add(await machines.driver.restore(template, { id, correlationId: work.correlationId, limits, ...extras }), limits, template.size)
  } catch (error) {
    await proxy[Symbol.asyncDispose]()
    await reporter.vmEnded({ ...about, state: 'ended', endReason: 'restore failed', endDetail: (error instanceof Error ? error.message : String(error)).slice(0, 2_000) })
    throw new WorkFailure('infrastructure', 'restore_failed', error instanceof Error ? error.message : String(error), { cause: error })
  }
  held.occupy(() => vm.stats())
  vm.onForward((stream: Duplex) => { proxy.accept(stream) })
  reporter.vm({ ...about, state: 'running', restoreMs: vm.restoreMs })
  const ended = vm.ended.then(async (end) => {
    await proxy[Symbol.asyncDispose]()
    const usage = machines.vms.find(id)?.usage
    await reporter.vmEnded({ ...about, state: 'ended', endReason: end.reason, endDetail: end.detail.slice(0, 2_000), ...(usage == null ? {} : { usage }) })
  }).catch(reporter.onError)
  return { vm, ended }
}
