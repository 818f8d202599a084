import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { zstdDecompressSync } from 'node:zlib'
import { z } from 'zod'
import { DomainError } from '@swarm/core/errors.ts'
import { run } from '../host/run.ts'
import type { Build } from './builds.ts'
import { KERNEL_MODULES, KERNEL_PACKAGES, VSOCK_MODULES } from './image.ts'
import { digestOf, type ImageInputs } from './inputs.ts'
import { runStep } from './stage.ts'

/** Its order is part of the digests of images. */
export const DebianStage = z.object({
  kernelVersion: z.string(),
  kernelPackage: z.string(),
  /** File names under modules/, in loading order. */
  modules: z.array(z.string()),
  /** The same, for a VMM without PCI and virtio-serial. */
  vsockModules: z.array(z.string()),
  /** SHA-256 of root.tar. */
  rootTarDigest: z.string(),
})
export type DebianStage = z.infer<typeof DebianStage>

/** For apt: a name that no package has is no pattern then, as it is for apt-get otherwise. */
export const NAMES_ALONE = 'APT::Cmd::Pattern-Only "true"'
/** A name as apt takes it literally: it takes a + at the end of one that no package has as "install", and only one. */
export const literalName = (name: string): string => (name.endsWith('+') ? `${name}+` : name)

/** Makes the part that comes from the distribution: root.tar, vmlinuz, modules/ and stage.json. */
export async function buildDebian(directory: string, inputs: ImageInputs, build: Build): Promise<void> {
  const { suite, sources, aptOptions } = inputs.distribution
  const tar = join(directory, 'root.tar')
  const scratch = join(directory, 'tmp')
  mkdirSync(scratch)
  build.progress({ phase: 'debian', detail: `${suite}: ${inputs.packages.join(', ')}` })
  await runStep('mmdebstrap', directory, ['mmdebstrap', '--mode=root', '--variant=apt', `--include=${inputs.packages.map(literalName).join(',')}`,
    ...['doc', 'man', 'locale', 'info'].map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`),
    ...[NAMES_ALONE, ...aptOptions].map((option) => `--aptopt=${option}`), suite, tar, ...sources], build, {
    env: { ...process.env, TMPDIR: scratch },
    onStderr(text) {
      const line = text.trim().split('\n').findLast((each) => each.startsWith('I: '))
      if (line !== undefined) build.progress({ phase: 'debian', detail: line.slice(3) })
    },
  })
  build.progress({ phase: 'debian', detail: 'packages installed', bytes: statSync(tar).size })
  const kernel = await unpackKernel(directory, scratch, build)
  rmSync(scratch, { recursive: true, force: true })
  const stage: DebianStage = { ...kernel, rootTarDigest: digestOf(readFileSync(tar)) }
  writeFileSync(join(directory, 'stage.json'), JSON.stringify(stage))
}

async function unpackKernel(directory: string, scratch: string, build: Build): Promise<Omit<DebianStage, 'rootTarDigest'>> {
  const packages = await findKernelPackages() ?? (await updateLists(directory, build), await findKernelPackages())
  if (packages === null) throw new DomainError('image_unsupported', { problem: `apt offers none of ${KERNEL_PACKAGES.join(', ')}` })
  build.progress({ phase: 'kernel', detail: packages.join(', ') })
  for (const name of packages) await runStep(`apt-get download ${name}`, directory, ['apt-get', 'download', name], build, { cwd: scratch })
  const tree = join(scratch, 'kernel')
  for (const file of readdirSync(scratch)) {
    if (file.endsWith('.deb')) await runStep('dpkg-deb', directory, ['dpkg-deb', '--extract', join(scratch, file), tree], build)
  }
  const kernelVersion = readdirSync(join(tree, 'lib/modules'))[0]
  if (kernelVersion === undefined) throw new DomainError('image_build_failed', { step: 'kernel', output: `${packages.join(', ')} hold no modules`, log: build.logPath })
  await runStep('depmod', directory, ['depmod', '-b', tree, kernelVersion], build)
  copyFileSync(join(tree, `boot/vmlinuz-${kernelVersion}`), join(directory, 'vmlinuz'))
  mkdirSync(join(directory, 'modules'))
  const modules: string[] = []
  const add = async (module: string, to: string[]) => {
    const depends = await runStep(`modprobe ${module}`, directory, ['modprobe', '-d', tree, '-S', kernelVersion, '--show-depends', module], build)
    for (const line of depends.split('\n')) {
      const path = /^insmod (\S+)/.exec(line)?.[1]
      if (path === undefined) continue // built in
      const name = basename(path).replace(/\.zst$/, '')
      if (modules.includes(name) || to.includes(name)) continue
      to.push(name)
      writeFileSync(join(directory, 'modules', name), path.endsWith('.zst') ? zstdDecompressSync(readFileSync(path)) : readFileSync(path))
    }
  }
  for (const module of KERNEL_MODULES) await add(module, modules)
  const vsockModules: string[] = []
  for (const module of VSOCK_MODULES) await add(module, vsockModules)
  build.progress({ phase: 'kernel', detail: kernelVersion, bytes: statSync(join(directory, 'vmlinuz')).size })
  return { kernelVersion, kernelPackage: packages[0] as string, modules, vsockModules }
}

/** @returns the kernel's package and, where the modules are apart (Ubuntu), theirs; null when apt knows none */
async function findKernelPackages(): Promise<string[] | null> {
  for (const meta of KERNEL_PACKAGES) {
    const image = await dependency(meta, /^linux-image-\d/)
    if (image === null) continue
    const modules = await dependency(image, /^linux-modules-\d/)
    return modules === null ? [image] : [image, modules]
  }
  return null
}

async function dependency(name: string, pattern: RegExp): Promise<string | null> {
  const { stdout } = await run(['apt-cache', 'depends', '--important', name])
  const found = stdout.split('\n').map((line) => /^\s+\|?Depends: (\S+)/.exec(line)?.[1]).filter((each) => each !== undefined)
  return found.find((each) => pattern.test(each)) ?? null
}

async function updateLists(directory: string, build: Build): Promise<void> {
  await runStep('apt-get update', directory, ['apt-get', 'update'], build)
}
