import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { programFailure } from '@swarm/contract/program-failure.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { loadRunnerSettings } from '../config.ts'
import { firecrackerSettings, offeredDrivers, selectDriver } from '../drivers/select.ts'
import { probeKvm } from '../drivers/qemu/kvm.ts'
import { listTemplates, removeTemplates, volatileFolder } from '../vms/templates.ts'
import { probeCgroups } from '../host/cgroup.ts'
import { readMachine } from '../host/machine.ts'
import { ensureImage, listImages, removeImages } from '../images/images.ts'
import { findTool, IMAGE_TOOLS, missingPackages, QEMU_TOOLS } from '../images/tools.ts'
import { auditHost } from '../vms/audit.ts'
import { journalsUnder } from '../vms/journal.ts'
import { reclaimOrphans } from '../vms/reclaim.ts'

/*
 * What a host's command line asks of the runner's parts: `node packages/runner/commands/main.ts COMMAND [options]`. JSON lines on
 * stdout: {"progress": {phase, detail, bytes?}} any number of times, then {"result": …}. A failure is one line on stderr,
 * {"error": {code, message, remedy, details}}, exit 1.
 */

const COMMANDS = { 'image-build': imageBuild, 'image-list': imageList, 'image-remove': imageRemove, 'probe': probe, 'leftovers': leftovers, 'reclaim': reclaim, 'audit': audit }

const progress = (about: object): void => { process.stdout.write(`${JSON.stringify({ progress: about })}\n`) }

/** The image and the template that work without extras of its own starts from. */
async function imageBuild(options: { refresh?: boolean }): Promise<object> {
  const { settings } = loadRunnerSettings()
  const startedMs = performance.now()
  const known = new Set(listImages(settings.cache).map(({ digest }) => digest))
  const image = await ensureImage({
    cache: settings.cache, refresh: options.refresh === true, onProgress: progress, ...(settings.caFile === undefined ? {} : { extraCaFiles: [settings.caFile] }),
  })
  await using driver = await selectDriver({ driver: settings.vm.driver === 'process' ? 'auto' : settings.vm.driver, cache: settings.cache, stateDir: join(settings.home, 'runner', 'image-build'), warm: 0, firecracker: firecrackerSettings(settings), onNotice: (detail) => { progress({ phase: 'notice', detail }) } })
  const templates = new Set(listTemplates(settings.cache).map(({ key }) => key))
  const template = await driver.buildTemplate(image, { vcpus: settings.vm.vcpus, memoryMb: settings.vm.memoryMb, scratchMb: settings.vm.scratchMb }, progress)
  return {
    image: { digest: image.digest, bytes: image.bytes, suite: image.suite, kernelVersion: image.kernelVersion, built: !known.has(image.digest), directory: image.directory },
    template: { key: template.key, built: !templates.has(template.key), driver: driver.name }, wallMs: Math.round(performance.now() - startedMs),
  }
}

async function imageList(): Promise<object> {
  const { settings } = loadRunnerSettings()
  return {
    images: listImages(settings.cache).map(({ digest, bytes, suite, kernelVersion, builtAtMs }) => ({ digest, bytes, suite, kernelVersion, builtAt: builtAtMs })),
    templates: listTemplates(settings.cache).map(({ key, imageDigest, size, builtAtMs, bytes, inUse }) => ({ key, imageDigest, ...size, bytes, inUse, builtAt: builtAtMs })),
  }
}

/** Everything that can be made again: images, templates, probes. */
async function imageRemove(): Promise<object> {
  const { settings } = loadRunnerSettings()
  const templates = removeTemplates(settings.cache)
  const images = await removeImages(settings.cache)
  if (templates.inUse.length === 0) rmSync(volatileFolder(settings.cache), { recursive: true, force: true })
  return { images: images.map(({ digest }) => digest), templates: templates.removed, inUse: templates.inUse }
}

/** What this machine offers. KVM is tried with a kernel of an image that exists; without one its device is looked at only. */
async function probe(): Promise<object> {
  const { settings } = loadRunnerSettings()
  const cgroups = probeCgroups()
  const qemu = findTool('qemu-system-x86_64')
  const [image] = listImages(settings.cache)
  const kvm = !existsSync('/dev/kvm') ? { works: false, detail: '/dev/kvm does not exist: microVMs run by software emulation' }
    : image && qemu !== null ? await probeKvm(settings.cache, await readMachine(qemu), image, qemu) : { works: null, detail: '/dev/kvm exists; whether a kernel boots on it is tried once the image exists' }
  return {
    drivers: offeredDrivers(firecrackerSettings(settings).paths), kvm, cgroups, image: image ? { digest: image.digest, bytes: image.bytes } : null,
    missingPackages: missingPackages([...new Set([...IMAGE_TOOLS, ...QEMU_TOOLS])]),
  }
}

/** What is left of microVMs under a home folder: records of runners, living processes, folders in memory. */
async function leftovers(): Promise<object> {
  const { settings } = loadRunnerSettings()
  const vms = journalsUnder(join(settings.home, 'runner')).flatMap((journal) => journal.records().map(({ slot, vmId }) => ({ folder: journal.directory, slot, vmId })))
  const volatile = volatileFolder(settings.cache)
  return { vms, templates: listTemplates(settings.cache).map(({ directory, bytes, inUse }) => ({ directory, bytes, inUse })), volatile: existsSync(volatile) ? volatile : null }
}

/** Removes what dead runners of this home have left. */
async function reclaim(): Promise<object> {
  const { settings } = loadRunnerSettings()
  const reclaimed = []
  for (const journal of journalsUnder(join(settings.home, 'runner'))) reclaimed.push(...await reclaimOrphans(journal, (error) => { progress({ phase: 'reclaiming', detail: `left: ${String(error)}` }) }))
  return { reclaimed }
}

/** What is on this host of this home's microVMs and belongs to nobody (vms/audit.ts). */
async function audit(): Promise<object> {
  const { settings } = loadRunnerSettings()
  return auditHost(settings.home, settings.cache)
}

try {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { refresh: { type: 'boolean' } } })
  const name = positionals[0] ?? ''
  if (!Object.hasOwn(COMMANDS, name)) throw new DomainError('invalid_input', { problem: `there is no command ${name}`, field: 'the command line' })
  const result = await COMMANDS[name as keyof typeof COMMANDS](values)
  process.stdout.write(`${JSON.stringify({ result })}\n`)
} catch (error) {
  process.stderr.write(`${JSON.stringify({ error: programFailure(error) })}\n`)
  process.exitCode = 1
}
