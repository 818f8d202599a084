import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { once } from 'node:events'
import { DomainError } from '@swarm/core/errors.ts'
import { findTool } from '../../images/tools.ts'

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

/** The sealed memories of one driver, by template folder: each is made once. */
export function createSealedMemories(): { of(directory: string, path: string): Promise<number> } & AsyncDisposable {
  const all = new Map<string, Promise<number>>()
  return {
    of(directory, path) {
      const known = all.get(directory)
      if (known !== undefined) return known
      const made = sealMemory(path)
      all.set(directory, made)
      made.catch(() => { all.delete(directory) }) // the next one tries again
      return made
    },
    async [Symbol.asyncDispose]() {
      for (const made of await Promise.allSettled(all.values())) if (made.status === 'fulfilled') closeSync(made.value)
      all.clear()
    },
  }
}
