import { existsSync } from 'node:fs'
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
import { listBuilds, readBuildLog } from '../images/builds.ts'
import { pruneCache, readCache, totalBytes, type CacheEntry } from '../images/cache.ts'
import { ensureImage, listImages } from '../images/images.ts'
import { listLayers } from '../images/layers.ts'
import { findTool, IMAGE_TOOLS, missingPackages, QEMU_TOOLS } from '../images/tools.ts'
import { auditHost } from '../vms/audit.ts'
import { journalsUnder } from '../vms/journal.ts'
import { reclaimOrphans } from '../vms/reclaim.ts'

/*
 * What a host's command line asks of the runner's parts: `node packages/runner/commands/main.ts COMMAND [options]`. JSON lines on
 * stdout: {"progress": {phase, detail, bytes?}} any number of times, then {"result": …}. A failure is one line on stderr,
 * {"error": {code, message, remedy, details}}, exit 1.
 */

const COMMANDS = { 'image-build': imageBuild, 'image-list': imageList, 'image-prune': imagePrune, 'image-logs': imageLogs, 'image-remove': imageRemove, 'probe': probe, 'leftovers': leftovers, 'reclaim': reclaim, 'audit': audit }

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

/** What the cache holds, with what it takes, when it was used last and why it stays. */
async function imageList(): Promise<object> {
  const { settings } = loadRunnerSettings()
  const entries = readCache(cacheView(settings.cache))
  const about = (kind: CacheEntry['kind'], key: string) => {
    const entry = entries.find((each) => each.kind === kind && each.key === key)
    return { bytes: entry === undefined ? 0 : totalBytes([entry]), lastUsedAt: entry?.lastUsedMs ?? 0, held: entry?.held ?? null, useless: entry?.useless ?? null }
  }
  return {
    images: listImages(settings.cache).map(({ digest, suite, kernelVersion, builtAtMs, about: what, versions }) => ({ digest, about: what, suite, kernelVersion, builtAt: builtAtMs, versions, ...about('image', digest) })),
    layers: listLayers(settings.cache).map(({ key, imageDigest, repository, command, builtAtMs, problem }) => ({ key, imageDigest, repository, command, builtAt: builtAtMs, problem, ...about('layer', key) })),
    templates: listTemplates(settings.cache).map(({ key, imageDigest, size, builtAtMs, bytes, inUse }) => ({ key, imageDigest, ...size, bytes, inUse, builtAt: builtAtMs })),
    builds: listBuilds(settings.cache).map(presentBuild),
    totalBytes: totalBytes(entries), limitBytes: settings.retention.cacheMb === 0 ? null : settings.retention.cacheMb * 1024 ** 2,
  }
}

/** Brings the cache within its limit; with --all, removes all that nobody uses. */
async function imagePrune(options: { all?: boolean; 'dry-run'?: boolean }): Promise<object> {
  const { settings } = loadRunnerSettings()
  const { cacheMb } = settings.retention
  const dryRun = options['dry-run'] === true
  const templates = removeTemplates(settings.cache, options.all === true ? 'all' : 'stale', dryRun)
  const pruned = await pruneCache(cacheView(settings.cache), { limitBytes: options.all === true ? 0 : cacheMb === 0 ? Infinity : cacheMb * 1024 ** 2, dryRun })
  return { removed: pruned.removed.map(({ kind, key, parts, lastUsedMs }) => ({ kind, key, bytes: totalBytes([{ parts }]), lastUsedAt: lastUsedMs })), templates: templates.removed, inUse: templates.inUse, beforeBytes: pruned.beforeBytes, afterBytes: pruned.afterBytes }
}

/** The log of a build: by its id, by (the beginning of) the image or layer that came of it, or the newest. */
async function imageLogs(_: unknown, [which]: readonly string[]): Promise<object> {
  const { settings } = loadRunnerSettings()
  const builds = listBuilds(settings.cache)
  const build = which === undefined ? builds[0] : builds.find(({ id, key }) => id === which || (which.length >= 4 && key?.startsWith(which)))
  if (build === undefined) throw new DomainError('not_found', { kind: 'image', id: which ?? '' })
  return { build: presentBuild(build), text: readBuildLog(build) }
}

const presentBuild = ({ id, what, about, startedAtMs, endedAtMs, outcome, key, problem, log }: ReturnType<typeof listBuilds>[number]) => ({ id, what, about, startedAt: startedAtMs, endedAt: endedAtMs, outcome, key, problem, log })

const cacheView = (cache: string) => ({ cache, templateImages: new Set(listTemplates(cache).filter(({ inUse }) => inUse).map(({ imageDigest }) => imageDigest)) })

/** Everything that can be made again: images, layers, templates, probes. */
async function imageRemove(): Promise<object> {
  const { settings } = loadRunnerSettings()
  const templates = removeTemplates(settings.cache)
  const { removed } = await pruneCache(cacheView(settings.cache), { limitBytes: 0 })
  return { images: removed.map(({ key }) => key), templates: templates.removed, inUse: templates.inUse }
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
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { 'refresh': { type: 'boolean' }, 'all': { type: 'boolean' }, 'dry-run': { type: 'boolean' } } })
  const name = positionals[0] ?? ''
  if (!Object.hasOwn(COMMANDS, name)) throw new DomainError('invalid_input', { problem: `there is no command ${name}`, field: 'the command line' })
  const result = await COMMANDS[name as keyof typeof COMMANDS](values, positionals.slice(1))
  process.stdout.write(`${JSON.stringify({ result })}\n`)
} catch (error) {
  process.stderr.write(`${JSON.stringify({ error: programFailure(error) })}\n`)
  process.exitCode = 1
}
