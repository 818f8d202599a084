import { chmodSync, copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Build } from './builds.ts'
import type { DebianStage } from './debian.ts'
import type { GuestBundle } from './guest-bundle.ts'
import type { Image } from './image.ts'
import { writeInto } from './inside.ts'
import type { ImageInputs } from './inputs.ts'
import { directoryEntry, fileEntry, newcArchive } from './newc.ts'
import { runStep } from './stage.ts'
import { findTool } from './tools.ts'

/** Makes root.erofs: the distribution's packages, Node, npm, the host's CA bundle, files of the repository; and versions.json. */
export async function buildRoot(directory: string, debian: string, inputs: ImageInputs, build: Build): Promise<void> {
  const tree = join(directory, 'tree')
  mkdirSync(tree)
  build.progress({ phase: 'root', detail: [`Node ${process.versions.node}`, ...inputs.npm, ...inputs.files.map(({ path }) => path)].join(', ') })
  await runStep('tar', directory, ['tar', '--extract', '--directory', tree, '--numeric-owner', '--file', join(debian, 'root.tar')], build)
  for (const name of ['var/lib/apt/lists', 'var/cache/apt', 'var/log']) {
    rmSync(join(tree, name), { recursive: true, force: true })
    mkdirSync(join(tree, name), { recursive: true })
  }
  for (const name of ['work', 'opt/swarm']) mkdirSync(join(tree, name), { recursive: true })
  copyFileSync(inputs.nodePath, join(tree, 'usr/local/bin/node'))
  chmodSync(join(tree, 'usr/local/bin/node'), 0o755)
  if (inputs.caBundle.length > 0) writeFileSync(join(tree, 'etc/ssl/certs/ca-certificates.crt'), inputs.caBundle)
  // The repository under /work belongs to whoever made the scratch disk; the guest has one user.
  writeFileSync(join(tree, 'etc/gitconfig'), '[safe]\n\tdirectory = *\n[init]\n\tdefaultBranch = main\n[advice]\n\tdetachedHead = false\n')
  writeFileSync(join(tree, 'etc/machine-id'), 'uninitialized\n')
  writeFileSync(join(tree, 'etc/hosts'), '127.0.0.1 localhost\n::1 localhost\n')
  await runStep('npm install', directory, ['npm', 'install', '--global', '--prefix', join(tree, 'usr/local'), '--ignore-scripts', '--no-audit', '--no-fund', '--cache', join(directory, 'npm-cache'), ...inputs.npm], build, { cwd: directory })
  for (const { path, mode, content } of inputs.files) writeInto(tree, path, Buffer.from(content, 'base64'), mode)
  writeFileSync(join(directory, 'versions.json'), JSON.stringify(readVersions(tree)))
  await runStep('mkfs.erofs', directory, ['mkfs.erofs', '-zlz4', '-T', '0', '--quiet', join(directory, 'root.erofs'), tree], build)
  for (const name of readdirSync(directory)) if (!['root.erofs', 'versions.json'].includes(name)) rmSync(join(directory, name), { recursive: true, force: true })
  build.progress({ phase: 'root', detail: 'read-only base', bytes: statSync(join(directory, 'root.erofs')).size })
}

/** Makes the initramfs: busybox, the modules, and the guest's own programs (so that a change of those costs a second). */
export function buildInitrd(directory: string, debian: string, stage: DebianStage, bundle: GuestBundle, build: Build): void {
  const init = bundle.init.replace('@MODULES@', stage.modules.join(' ')).replace('@VSOCK_MODULES@', stage.vsockModules.join(' '))
  const modules = [...stage.modules, ...stage.vsockModules]
  const archive = newcArchive([
    ...['bin', 'proc', 'sys', 'dev', 'modules', 'base', 'layer', 'new', 'guest'].map(directoryEntry),
    fileEntry('bin/busybox', readFileSync(findTool('busybox') as string), 0o755),
    ...modules.map((name) => fileEntry(`modules/${name}`, readFileSync(join(debian, 'modules', name)))),
    ...[...bundle.files].map(([name, content]) => fileEntry(`guest/${name}`, content)),
    fileEntry('init', Buffer.from(init), 0o755),
  ])
  writeFileSync(join(directory, 'initrd'), archive)
  build.progress({ phase: 'initramfs', detail: `${bundle.files.size} guest programs, ${modules.length} kernel modules`, bytes: archive.length })
}

/** What is installed, whatever was asked for: dependencies too, and the versions that names without one came to. */
function readVersions(tree: string): Image['versions'] {
  const packages = Object.fromEntries(readFileSync(join(tree, 'var/lib/dpkg/status'), 'utf8').split('\n\n').flatMap((paragraph) => {
    const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(paragraph)?.[1]
    const [name, version] = [field('Package'), field('Version')]
    return name === undefined || version === undefined || field('Status') !== 'install ok installed' ? [] : [[name, version]]
  }))
  const modules = join(tree, 'usr/local/lib/node_modules')
  const names = readdirSync(modules).flatMap((name) => (name.startsWith('@') ? readdirSync(join(modules, name)).map((each) => `${name}/${each}`) : name.startsWith('.') ? [] : [name]))
  const npm = Object.fromEntries(names.map((name) => [name, (JSON.parse(readFileSync(join(modules, name, 'package.json'), 'utf8')) as { version: string }).version]))
  return { packages, npm }
}
