import { existsSync } from 'node:fs'
import type { Config } from '@swarm/contract/config.ts'
import type { Work } from '@swarm/contract/runner-protocol.ts'
import type { Template, VmDriver } from '../drivers/driver.ts'
import { npmRegistry } from '../egress/npm-registry.ts'
import { compilePolicy } from '../egress/policy.ts'
import { createEgressProxy } from '../egress/proxy.ts'
import type { Admission, Needs } from '../host/admission.ts'
import { ensureImage } from '../images/images.ts'
import type { BuildProgress } from '../images/image.ts'
import { createVmRegistry } from '../vms/registry.ts'
import type { Machines } from './machine.ts'

const MB = 1024 ** 2

/**
 * What work needs from this host: a template of the right image and size, made once for all who ask at the same time, and
 * a way out that holds the work's token.
 */
export function createMachines(options: {
  driver: VmDriver; admission: Admission; settings: Config; serverUrl: string
  /** PEM of the authorities in settings.caFile. */
  ca?: string
  onProgress: (progress: BuildProgress) => void
}): Machines {
  const { driver, admission, settings } = options
  const templates = new Map<string, Promise<Template>>()

  async function build(work: Pick<Work, 'image' | 'limits'>): Promise<Template> {
    const image = !driver.isolates ? null : await ensureImage({
      cache: settings.cache, extras: work.image, onProgress: options.onProgress,
      ...(settings.caFile === undefined ? {} : { extraCaFiles: [settings.caFile] }),
    })
    return driver.buildTemplate(image, { vcpus: settings.vm.vcpus, memoryMb: work.limits.memoryMb, scratchMb: work.limits.diskMb }, options.onProgress)
  }

  const keyOf = (work: Pick<Work, 'image' | 'limits'>) => JSON.stringify([work.image, work.limits.memoryMb, work.limits.diskMb])

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
    driver,
    vms: createVmRegistry(),
    noRoom: () => admission.problem,
    onNoRoom: admission.onProblem,
    // What the next work will need is not known before it is claimed: what is usual here is looked for.
    untilRoom: (signal) => admission.untilRoom(needsOf({ cpu: vcpus, memoryMb, diskMb: scratchMb }, true), signal),
    acquire: (work, signal) => admission.acquire(needsOf(work.limits, templates.has(keyOf(work))), signal),
    async template(work) {
      const key = keyOf(work)
      const known = await templates.get(key)
      // Memory files do not survive a clean-up of /dev/shm by somebody else, nor half an hour without use: what is gone is made again.
      // The driver is asked all the same, and knows from that that the template is in use.
      if (known && existsSync(known.directory)) return known.image === null ? known : driver.buildTemplate(known.image, known.size, options.onProgress)
      if (known) templates.delete(key)
      let template = templates.get(key)
      if (!template) {
        template = build(work)
        templates.set(key, template)
        // A failure is not remembered: the next work tries again.
        template.catch(() => { templates.delete(key) })
      }
      return template
    },
    async proxy(work, onRefusal, permit) {
      const route = (path: string) => ({ url: `${options.serverUrl}${path}`, token: work.token })
      return createEgressProxy({
        correlationId: work.correlationId, permit,
        policy: await compilePolicy({ allow: work.egressAllow, exemptions: settings.egress.exemptions, npmRegistry }),
        routes: { model: route('/model'), git: route('/git') },
        limits: { egressBytes: work.limits.egressBytes },
        onRefusal: ({ host, port, code, message }) => { onRefusal({ host, port: port ?? 0, code, message }) },
        ...(settings.upstreamProxy === undefined ? {} : { upstreamProxy: { url: settings.upstreamProxy } }),
        ...(options.ca === undefined ? {} : { ca: options.ca }),
      })
    },
  }
}
