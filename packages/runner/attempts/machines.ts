import { existsSync } from 'node:fs'
import type { Config } from '@swarm/contract/config.ts'
import type { Work } from '@swarm/contract/runner-protocol.ts'
import type { Template, VmDriver } from '../drivers/driver.ts'
import { npmRegistry } from '../egress/npm-registry.ts'
import { compilePolicy } from '../egress/policy.ts'
import { createEgressProxy } from '../egress/proxy.ts'
import { ensureImage } from '../images/images.ts'
import type { BuildProgress } from '../images/image.ts'
import { createVmRegistry } from '../vms/registry.ts'
import type { Machines } from './machine.ts'

/**
 * What work needs from this host: a template of the right image and size, made once for all who ask at the same time, and
 * a way out that holds the work's token.
 */
export function createMachines(options: {
  driver: VmDriver; settings: Config; serverUrl: string
  /** PEM of the authorities in settings.caFile. */
  ca?: string
  onProgress: (progress: BuildProgress) => void
}): Machines {
  const { driver, settings } = options
  const templates = new Map<string, Promise<Template>>()

  async function build(work: Pick<Work, 'image' | 'limits'>): Promise<Template> {
    const image = !driver.isolates ? null : await ensureImage({
      cache: settings.cache, extras: work.image, onProgress: options.onProgress,
      ...(settings.caFile === undefined ? {} : { extraCaFiles: [settings.caFile] }),
    })
    return driver.buildTemplate(image, { vcpus: settings.vm.vcpus, memoryMb: work.limits.memoryMb, scratchMb: work.limits.diskMb }, options.onProgress)
  }

  return {
    driver,
    vms: createVmRegistry(),
    async template(work) {
      const key = JSON.stringify([work.image, work.limits.memoryMb, work.limits.diskMb])
      const known = await templates.get(key)
      // Memory files do not survive a clean-up of /dev/shm by somebody else: what is gone is made again.
      if (known && existsSync(known.directory)) return known
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
