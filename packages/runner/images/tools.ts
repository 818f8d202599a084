import { accessSync, constants, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { DomainError } from '@swarm/core/errors.ts'

/** Program → the Debian and Ubuntu package that has it. */
const TOOL_PACKAGES = {
  'mmdebstrap': 'mmdebstrap', 'mkfs.erofs': 'erofs-utils', 'busybox': 'busybox-static', 'modprobe': 'kmod', 'depmod': 'kmod',
  'mkfs.ext4': 'e2fsprogs', 'flock': 'util-linux', 'setpriv': 'util-linux', 'prlimit': 'util-linux', 'perl': 'perl-base', 'unshare': 'util-linux', 'apt-get': 'apt', 'apt-cache': 'apt', 'dpkg-deb': 'dpkg', 'tar': 'tar', 'npm': 'npm',
  'qemu-system-x86_64': 'qemu-system-x86', 'lz4': 'lz4',
} as const

export type Tool = keyof typeof TOOL_PACKAGES
export const IMAGE_TOOLS = ['apt-get', 'apt-cache', 'mmdebstrap', 'mkfs.erofs', 'busybox', 'modprobe', 'depmod', 'dpkg-deb', 'tar', 'flock', 'setpriv', 'unshare', 'npm'] as const satisfies readonly Tool[]
export const QEMU_TOOLS = ['qemu-system-x86_64', 'mkfs.ext4', 'flock', 'setpriv', 'prlimit', 'perl'] as const satisfies readonly Tool[]
/** Beside firecracker and jailer, which no distribution has. */
export const FIRECRACKER_TOOLS = ['mkfs.ext4', 'flock', 'unshare', 'lz4'] as const satisfies readonly Tool[]

/** @returns the tool's path, or null. The system's folders are searched too: a user's PATH often lacks sbin. */
export function findTool(tool: string): string | null {
  for (const folder of [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin', '/usr/bin', '/bin']) {
    const path = join(folder || '.', tool)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {
      continue
    }
  }
  return null
}

/** Packages to install, by apt, before these tools can be used; empty when all are there. */
export function missingPackages(tools: readonly Tool[], find: (tool: Tool) => string | null = findTool): string[] {
  const missing = tools.filter((tool) => find(tool) === null || (tool === 'busybox' && !isStatic(find(tool))))
  return [...new Set(missing.map((tool) => TOOL_PACKAGES[tool]))].sort()
}

/** @throws DomainError tools_missing, naming exactly the packages */
export function requireTools(tools: readonly Tool[], purpose: string): void {
  const packages = missingPackages(tools)
  if (packages.length > 0) throw new DomainError('tools_missing', { purpose, packages: packages.join(' ') })
}

/** @throws DomainError root_needed */
export function requireRoot(purpose: string): void {
  if (process.getuid?.() !== 0) throw new DomainError('root_needed', { purpose })
}

/** busybox goes into the initramfs, where there is no dynamic loader: an ELF file without an interpreter (PT_INTERP, 3). */
function isStatic(path: string | null): boolean {
  if (path === null) return false
  const elf = readFileSync(path)
  const [tableAt, entryBytes, entries] = [Number(elf.readBigUInt64LE(32)), elf.readUInt16LE(54), elf.readUInt16LE(56)]
  return Array.from({ length: entries }, (_, index) => elf.readUInt32LE(tableAt + index * entryBytes)).every((type) => type !== 3)
}
