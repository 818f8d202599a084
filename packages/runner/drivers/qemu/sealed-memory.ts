import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { once } from 'node:events'
import { join } from 'node:path'
import { DomainError } from '@swarm/core/errors.ts'
import { findTool } from '../../images/tools.ts'
import type { Template } from '../driver.ts'

/**
 * Copies what is written of a sparse file into a memory file without a name (memfd_create 319, MFD_ALLOW_SEALING) and seals it
 * against writing, growing, shrinking and unsealing (F_ADD_SEALS 1033): nobody can change it any more, root included. Node has
 * neither call; perl has `syscall`. Says which descriptor it is and waits until we have opened it too.
 */
const SEAL = `use strict; $| = 1; my ($path) = @ARGV;
open(my $from, '<:raw', $path) or die "$path: $!\\n"; my $size = -s $from;
my $fd = syscall(319, my $name = 'swarm-template', 2); $fd >= 0 or die "memfd_create: $!\\n";
open(my $to, '+>&=', $fd) or die "descriptor: $!\\n"; binmode $to; truncate($to, $size) or die "truncate: $!\\n";
my $at = 0;
while (defined($at = sysseek($from, $at, 3))) {
  my $end = sysseek($from, $at, 4); sysseek($from, $at, 0); sysseek($to, $at, 0);
  while ($at < $end) { my $n = sysread($from, my $bytes, $end - $at > 4194304 ? 4194304 : $end - $at) or die "read: $!\\n"; syswrite($to, $bytes) == $n or die "write: $!\\n"; $at += $n }
}
fcntl($to, 1033, 1 | 2 | 4 | 8) or die "F_ADD_SEALS: $!\\n";
print "$fd\\n"; <STDIN>;`

/**
 * A template's memory as a descriptor that a VMM of another user may open for reading and writing, as QEMU insists on, and
 * still cannot change: a private mapping is all that it is good for. Takes as much memory as the template has written.
 * @returns the descriptor, for the caller to close
 * @throws DomainError vm_start_failed
 */
export async function sealMemory(path: string): Promise<number> {
  const holder = spawn(findTool('perl') ?? 'perl', ['-e', SEAL, path], { stdio: ['pipe', 'pipe', 'pipe'] })
  const ended = once(holder, 'close')
  let problem = ''
  holder.stderr.on('data', (chunk: Buffer) => { problem += chunk.toString('utf8') })
  try {
    const [line] = await Promise.race([once(createInterface({ input: holder.stdout }), 'line'), ended.then((): never => { throw new DomainError('vm_start_failed', { problem: `the template's memory could not be sealed: ${problem.trim()}` }) })])
    return openSync(`/proc/${holder.pid}/fd/${line}`, 'r')
  } finally {
    holder.stdin.end()
    await ended
  }
}

/** The descriptor of a template's memory; it stays open until this is disposed. */
export interface HeldMemory extends Disposable { readonly descriptor: number }

interface Sealed { readonly made: Promise<number>; readonly builtAtMs: number; users: number; forgotten: boolean }

/** The sealed memories of one driver, one for each template. */
export interface SealedMemories extends AsyncDisposable {
  of(template: Pick<Template, 'directory' | 'builtAtMs'>): Promise<HeldMemory>
  /** Gives its memory back, once nobody holds it: the template is gone. */
  forget(directory: string): void
}

export function createSealedMemories(seal: (path: string) => Promise<number> = sealMemory): SealedMemories {
  const all = new Map<string, Sealed>()
  const settle = (sealed: Sealed): void => {
    if (sealed.forgotten && sealed.users === 0) void sealed.made.then(closeSync, () => undefined) // what was not made is not open
  }
  function forget(directory: string): void {
    const sealed = all.get(directory)
    if (sealed === undefined) return
    all.delete(directory)
    sealed.forgotten = true
    settle(sealed)
  }
  return {
    forget,
    async of({ directory, builtAtMs }) {
      // A folder of the same name may hold a template that was booted anew, whose state does not go with the memory of before.
      if (all.get(directory)?.builtAtMs !== builtAtMs) forget(directory)
      const sealed = all.get(directory) ?? { made: seal(join(directory, 'memory')), builtAtMs, users: 0, forgotten: false }
      all.set(directory, sealed)
      sealed.users += 1
      let held = true
      const release = (): void => {
        if (held) sealed.users -= 1
        held = false
        settle(sealed)
      }
      try {
        return { descriptor: await sealed.made, [Symbol.dispose]: release }
      } catch (error) {
        release()
        if (all.get(directory) === sealed) all.delete(directory) // the next one tries again
        throw error
      }
    },
    async [Symbol.asyncDispose]() {
      const made = [...all.values()].map((sealed) => sealed.made.catch(() => undefined))
      for (const directory of all.keys()) forget(directory)
      await Promise.all(made)
    },
  }
}
