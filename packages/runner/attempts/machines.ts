import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '@swarm/contract/config.ts'
import type { Work } from '@swarm/contract/runner-protocol.ts'
import type { Template, VmDriver } from '../drivers/driver.ts'
import { createAuthorityHolder } from '../egress/authority.ts'
import { npmRegistry } from '../egress/npm-registry.ts'
import { compilePolicy } from '../egress/policy.ts'
import { createEgressProxy } from '../egress/proxy.ts'
import type { Admission, Needs } from '../host/admission.ts'
import { pruneCache } from '../images/cache.ts'
import { ensureImage, releaseImage } from '../images/images.ts'
import type { BuildProgress } from '../images/image.ts'
import { createVmRegistry } from '../vms/registry.ts'
import { listTemplates } from '../vms/templates.ts'
import type { Machines } from './machine.ts'

const MB = 1024 ** 2

/** What decides about a template. */
export interface Wanted { readonly image: Work['image']; readonly limits: Pick<Work['limits'], 'memoryMb' | 'diskMb'> }

/** A template that is made or was made, and who waits for it. */
interface Made {
  usedMs: number
  /** Where it is, once it was made. */
  directory: string | null
  readonly template: Promise<Template>
  readonly waiting: Set<(progress: BuildProgress) => void>
  last: BuildProgress | null
}

/** An image that no work has needed for so long may be removed when another needs its place. */
const IDLE_MS = 3_600_000

/**
 * What work needs from this host: a template of the right image and size, made once for all who ask at the same time, and
 * a way out that holds the work's token.
 */
export function createMachines(options: {
  driver: VmDriver; admission: Admission; settings: Config; serverUrl: string
  /** PEM of the authorities in settings.caFile. */
  ca?: string
  onProgress: (progress: BuildProgress) => void
  /** Ends what goes on beside the work: the runner stops. */
  closing?: AbortSignal
  /** Told what went wrong beside the work, such as a cache that could not be pruned. */
  onTrouble?: (error: unknown, what: string) => void
}): Machines {
  const { driver, admission, settings, onTrouble = () => {} } = options
  const templates = new Map<string, Made>()
  const keyOf = ({ image, limits }: Wanted) => JSON.stringify([image, limits.memoryMb, limits.diskMb])

  const imageFor = (wanted: Wanted, onProgress: (progress: BuildProgress) => void, signal?: AbortSignal) => ensureImage({
    cache: settings.cache, extras: wanted.image, onProgress, ...(signal === undefined ? {} : { signal }),
    ...(settings.caFile === undefined ? {} : { extraCaFiles: [settings.caFile] }),
  })

  async function build(wanted: Wanted, onProgress: (progress: BuildProgress) => void, signal?: AbortSignal): Promise<Template> {
    const image = driver.isolates ? await imageFor(wanted, onProgress, signal) : null
    const template = await driver.buildTemplate(image, { vcpus: settings.vm.vcpus, memoryMb: wanted.limits.memoryMb, scratchMb: wanted.limits.diskMb }, onProgress)
    void prune()
    return template
  }

  /** After a build, beside the work: what was used longest ago makes room for it. */
  async function prune(): Promise<void> {
    const { cache, retention } = settings
    if (!driver.isolates) return
    try {
      await letGo()
      if (retention.cacheMb === 0) return
      const templateImages = new Set(listTemplates(cache).filter(({ inUse }) => inUse).map(({ imageDigest }) => imageDigest))
      await pruneCache({ cache, templateImages }, { limitBytes: retention.cacheMb * 1024 ** 2, ...(options.closing === undefined ? {} : { signal: options.closing }) })
    } catch (error) {
      if (options.closing?.aborted !== true) onTrouble(error, 'the cache of images could not be pruned')
    }
  }

  /** Images that no work has needed for long: main has other inputs now, or the project has ended. */
  async function letGo(): Promise<void> {
    for (const [key, made] of templates) {
      if (Date.now() - made.usedMs < IDLE_MS) continue
      templates.delete(key)
      const digest = (await made.template).image?.digest
      const others = await Promise.all([...templates.values()].map(async (each) => (await each.template.catch(() => null))?.image?.digest))
      if (digest !== undefined && !others.includes(digest)) releaseImage(settings.cache, digest)
    }
  }

  function make(wanted: Wanted, signal?: AbortSignal): Made {
    const key = keyOf(wanted)
    const known = templates.get(key)
    if (known) return Object.assign(known, { usedMs: Date.now() })
    const waiting: Made['waiting'] = new Set()
    const made: Made = {
      waiting, last: null, usedMs: Date.now(), directory: null,
      // Not at once: what a build says first is heard by what is made here.
      template: Promise.resolve().then(() => build(wanted, (progress) => {
        made.last = progress.phase === 'probe' ? null : progress
        options.onProgress(progress)
        for (const tell of waiting) tell(progress)
      }, signal)),
    }
    templates.set(key, made)
    made.template.then(({ directory }) => { Object.assign(made, { last: null, directory }) }, () => {
      // A failure is not remembered: the next work tries again.
      templates.delete(key)
    })
    return made
  }

  /** Whether the template is there, or is being made in the place of other work. */
  function isThere(wanted: Wanted): boolean {
    const made = templates.get(keyOf(wanted))
    return made !== undefined && (made.directory === null || existsSync(made.directory))
  }

  async function templateFor(wanted: Wanted, onProgress: (progress: BuildProgress) => void, signal?: AbortSignal): Promise<Template> {
    for (;;) {
      const isNew = !templates.has(keyOf(wanted))
      const made = make(wanted, signal)
      // Who comes later hears where it stands. Without an image nothing is made that anybody would wait for.
      if (made.last !== null && driver.isolates) onProgress(made.last)
      if (driver.isolates) made.waiting.add(onProgress)
      try {
        const template = await made.template
        // One that was made before: the driver is asked all the same, and knows from that that the template is in use.
        if (existsSync(template.directory)) return isNew || template.image === null ? template : await driver.buildTemplate(template.image, template.size, onProgress)
      } finally {
        made.waiting.delete(onProgress)
      }
      // Memory files do not survive a clean-up of /dev/shm by somebody else, nor half an hour without use: what is gone is made again.
      for (const [key, each] of templates) if (each === made) templates.delete(key)
    }
  }

  /** What a microVM may take at most. A driver that limits nothing promises nothing either. */
  function needsOf({ cpu, memoryMb, diskMb }: Pick<Work['limits'], 'cpu' | 'memoryMb' | 'diskMb'>, hasTemplate: boolean): Needs {
    if (!driver.isolates) return { memoryBytes: 0, cores: 0, scratchBytes: 0, templateBytes: 0 }
    return {
      memoryBytes: memoryMb * MB + (driver.overheadBytes ?? 0), cores: Math.min(cpu, settings.vm.vcpus), scratchBytes: diskMb * MB,
      templateBytes: hasTemplate ? 0 : memoryMb * MB,
    }
  }
  const { vcpus, memoryMb, scratchMb } = settings.vm

  return {
    driver, prune, cache: driver.savesScratch === true ? settings.cache : null,
    vms: createVmRegistry(),
    noRoom: () => admission.problem,
    onNoRoom: admission.onProblem,
    // What the next work will need is not known before it is claimed: what is usual here is looked for.
    untilRoom: (signal) => admission.untilRoom(needsOf({ cpu: vcpus, memoryMb, diskMb: scratchMb }, true), signal),
    acquire: (work, signal) => admission.acquire(needsOf(work.limits, isThere(work)), signal),
    // Its memory lies on the disk too, while it is loaded.
    acquireFork: ({ limits, size }, signal) => admission.acquire(needsOf({ cpu: limits.cpuShare ?? size.vcpus, memoryMb: size.memoryMb, diskMb: size.scratchMb + size.memoryMb }, true), signal),
    template: (work, onProgress) => templateFor(work, onProgress),
    async prepare(wanted, signal) {
      if (!driver.isolates || isThere(wanted)) return
      const size = { ...wanted.limits, cpu: vcpus }
      admission.requirePossible(needsOf(size, false))
      await imageFor(wanted, options.onProgress, signal)
      // The template takes memory for good, and so does the microVM that boots meanwhile; work that waits for room comes first.
      const needs = needsOf(size, false)
      await admission.untilRoom(needs, signal)
      using place = await admission.acquire(needs, signal)
      await templateFor(wanted, () => {}, signal)
      place.templateMade()
    },
    routes: (work) => {
      const route = (path: string) => ({ url: `${options.serverUrl}${path}`, token: work.token })
      return { model: route('/model'), git: route('/git') }
    },
    authority: createAuthorityHolder(join(settings.home, 'runner', 'egress', 'authority.pem')),
    async proxy(work, onRefusal, permit, routes, secrets) {
      return createEgressProxy({
        correlationId: work.correlationId, permit, routes,
        policy: await compilePolicy({ allow: work.egressAllow, exemptions: settings.egress.exemptions, npmRegistry }),
        limits: { egressBytes: work.limits.egressBytes },
        onRefusal: ({ host, port, code, message }) => { onRefusal({ host, port: port ?? 0, code, message }) },
        ...(settings.upstreamProxy === undefined ? {} : { upstreamProxy: { url: settings.upstreamProxy } }),
        ...(options.ca === undefined ? {} : { ca: options.ca }), ...(secrets === null ? {} : { secrets }),
      })
    },
  }
}
