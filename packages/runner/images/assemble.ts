import { chmodSync, copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { DebianStage } from './debian.ts'
import type { GuestBundle } from './guest-bundle.ts'
import type { BuildProgress } from './image.ts'
import type { ImageInputs } from './inputs.ts'
import { directoryEntry, fileEntry, newcArchive } from './newc.ts'
import { runStep } from './stage.ts'
import { findTool } from './tools.ts'

/** Makes root.erofs: the distribution's packages, Node, npm, the host's CA bundle. */
export async function buildRoot(directory: string, debian: string, inputs: ImageInputs, onProgress: (progress: BuildProgress) => void): Promise<void> {
  const tree = join(directory, 'tree')
  mkdirSync(tree)
  onProgress({ phase: 'root', detail: `Node ${process.versions.node}, ${inputs.npm.join(', ')}` })
  await runStep('tar', directory, ['tar', '--extract', '--directory', tree, '--numeric-owner', '--file', join(debian, 'root.tar')])
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
  await runStep('npm install', directory, ['npm', 'install', '--global', '--prefix', join(tree, 'usr/local'), '--ignore-scripts', '--no-audit', '--no-fund', '--cache', join(directory, 'npm-cache'), ...inputs.npm], { cwd: directory })
  await runStep('mkfs.erofs', directory, ['mkfs.erofs', '-zlz4', '-T', '0', '--quiet', join(directory, 'root.erofs'), tree])
  for (const name of readdirSync(directory)) if (name !== 'root.erofs') rmSync(join(directory, name), { recursive: true, force: true })
  onProgress({ phase: 'root', detail: 'read-only base', bytes: statSync(join(directory, 'root.erofs')).size })
}

/** Makes the initramfs: busybox, the modules, and the guest's own programs (so that a change of those costs a second). */
export function buildInitrd(directory: string, debian: string, stage: DebianStage, bundle: GuestBundle, onProgress: (progress: BuildProgress) => void): void {
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
  onProgress({ phase: 'initramfs', detail: `${bundle.files.size} guest programs, ${modules.length} kernel modules`, bytes: archive.length })
}
