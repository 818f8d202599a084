import { randomBytes } from 'node:crypto'
import { closeSync, fstatSync, ftruncateSync, openSync, readFileSync, readSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { DomainError } from '@swarm/core/errors.ts'
import type { VmSize } from '../drivers/driver.ts'
import { run } from '../host/run.ts'
import { readCpuMs } from '../host/usage.ts'
import { findTool } from '../images/tools.ts'
import type { GuestConnection } from './guest-connection.ts'

/** A cold boot takes 3 to 6 s under emulation on two cores; more when they are busy. */
export const BOOT_TIMEOUT_MS = 120_000
/** Run once before the snapshot: what they read and compile is in every clone's memory already. */
const WARM_UP: string[][] = [['/bin/sh', '-c', 'true'], ['git', '--version'], ['node', '--version'], ['rg', '--version']]
/** The guest counts as idle when it has used less than this of a core in one window. */
const IDLE = { windowMs: 100, cpuMs: 10, timeoutMs: 10_000 }

/** @param guest one that is ready and to which nothing was said yet */
export async function warmUp(guest: GuestConnection): Promise<void> {
  await guest.hello()
  await guest.prepare({ entropy: randomBytes(32).toString('base64'), machineId: randomBytes(16).toString('hex'), hostname: 'template', mountScratch: false })
  await guest.setClock()
  for (const argv of WARM_UP) {
    const { code, stderr } = await guest.exec({ argv, cwd: '/' })
    if (code !== 0) throw new DomainError('vm_start_failed', { problem: `${argv.join(' ')} failed in the template: ${stderr.trim()}` })
  }
}

export async function makeScratchDisk(path: string, size: VmSize): Promise<void> {
  // No journal: the disk ends with its VM. Lazy tables: a 2 GB disk takes about 100 kB.
  const made = await run([findTool('mkfs.ext4') ?? 'mkfs.ext4', '-q', '-F', '-m', '0', '-O', '^has_journal,^resize_inode', '-E', 'lazy_itable_init=1,nodiscard,root_owner=0:0', path, `${size.scratchMb}M`])
  if (made.code !== 0) throw new DomainError('vm_start_failed', { problem: `mkfs.ext4: ${made.stderr.trim()}` })
}

/** Prints where a sparse file has data, a line of offset and length each: lseek(2) with SEEK_DATA (3) and SEEK_HOLE (4), which Node has not. */
const EXTENTS = 'open(my $file, "<", $ARGV[0]) or die "$ARGV[0]: $!\\n"; my $at = 0; while (defined($at = sysseek($file, $at, 3))) { my $end = sysseek($file, $at, 4); print $at + 0, " ", $end - $at, "\\n"; $at = $end }'
const extentsFile = (directory: string) => join(directory, 'scratch.extents')

/** Notes for `fillScratchDisk` where the empty disk of a template has data. */
export async function noteExtents(directory: string): Promise<void> {
  const found = await run([findTool('perl') ?? 'perl', '-e', EXTENTS, join(directory, 'scratch')])
  if (found.code !== 0) throw new DomainError('vm_start_failed', { problem: `the scratch disk cannot be read: ${found.stderr.trim()}` })
  writeFileSync(extentsFile(directory), found.stdout)
}

/** Makes a copy of the empty disk of a template, sparsely: its 100 kB are written here, since a process that copies takes 25 ms to be started. */
export function fillScratchDisk(directory: string, to: string): void {
  const [source, target] = [openSync(join(directory, 'scratch'), 'r'), openSync(to, 'w', 0o600)]
  try {
    ftruncateSync(target, fstatSync(source).size)
    for (const line of readFileSync(extentsFile(directory), 'utf8').trim().split('\n')) {
      const [offset = 0, length = 0] = line.split(' ').map(Number)
      const bytes = Buffer.alloc(length)
      if (readSync(source, bytes, 0, length, offset) !== length || writeSync(target, bytes, 0, length, offset) !== length) throw new DomainError('vm_start_failed', { problem: `${to} could not be written whole` })
    }
  } finally {
    closeSync(source)
    closeSync(target)
  }
}

/**
 * Copies a scratch disk sparsely: what is empty in it takes no space. A file that is there keeps its inode, owner and mode: a VMM that
 * waits has it open, and its guest has not read it yet.
 * @throws DomainError vm_start_failed
 */
export async function copyScratchDisk(from: string, to: string): Promise<void> {
  const copied = await run(['cp', '--sparse=always', '--reflink=auto', from, to])
  if (copied.code !== 0) throw new DomainError('vm_start_failed', { problem: copied.stderr.trim() })
}

/** The guest falls idle without telling; what can be seen from outside is that its VMM uses no CPU. */
export async function untilIdle(pid: number): Promise<void> {
  const deadline = performance.now() + IDLE.timeoutMs
  for (let before = readCpuMs(pid); performance.now() < deadline;) {
    await delay(IDLE.windowMs)
    const now = readCpuMs(pid)
    if (now - before < IDLE.cpuMs) return
    before = now
  }
}
