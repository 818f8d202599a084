import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { EXEMPT, FORBIDDEN, OTHER_PUBLIC, PUBLIC, PUBLIC_V6 } from '@swarm/runner/egress/testing-attacks.ts'
import type { ExecResult, VmEnd } from '@swarm/runner/drivers/driver.ts'
import { ensureImage } from '@swarm/runner/images/images.ts'
import { testCache } from '@swarm/runner/vms/testing.ts'
import { Happening, type Facts, type Question } from './protocol.ts'

export interface AttackedHost extends AsyncDisposable {
  readonly facts: Facts
  /** Everything that happened on its network so far. */
  readonly happened: readonly Happening[]
  ask<Value>(question: Question): Promise<Value>
  exec(vm: string, argv: string[], options?: { stdin?: string; env?: Record<string, string>; cwd?: string; timeoutMs?: number }): Promise<ExecResult>
  sh(vm: string, script: string, options?: { stdin?: string; env?: Record<string, string>; cwd?: string; timeoutMs?: number }): Promise<ExecResult>
  /** Sends each of these to the guest's proxy on a connection of its own, as a process of the guest: what came back, and what happened meanwhile. */
  send(vm: string, all: readonly string[]): Promise<{ answers: string[]; happenings: Happening[] }>
  ended(vm: string): Promise<VmEnd>
}

/** `$1` is bound over /etc/resolv.conf in a mount namespace; the program follows the addresses, after `--`. */
const SETUP = `set -e
mount --bind "$1" /etc/resolv.conf; shift
ip link set lo up
while [ "$1" != -- ]; do ip addr add "$1" dev lo; shift; done; shift
exec "$@"`

/** For each line of stdin: connects to the proxy, sends the bytes that it gives in hexadecimal, and prints all that comes back as one line. */
const SEND = `use Socket; $| = 1; $SIG{ALRM} = sub { die "no answer in time\n" };
  while (my $line = <STDIN>) {
    chomp $line; socket(my $s, PF_INET, SOCK_STREAM, 0) or die; connect($s, sockaddr_in(3128, inet_aton('127.0.0.1'))) or die "connect: $!";
    alarm 30; syswrite($s, pack('H*', $line)); while (sysread($s, my $chunk, 65536)) { print unpack('H*', $chunk) } alarm 0; print "\n";
  }`

/** Starts main.ts in network and mount namespaces of its own, which end with it. */
export async function startAttackedHost(driver: string): Promise<AttackedHost> {
  // The namespace has no way to a package registry: the image is made before.
  await ensureImage({ cache: testCache() })
  const folder = mkdtempSync(join(tmpdir(), 'swarm-isolation-names-'))
  const resolver = join(folder, 'resolv.conf')
  writeFileSync(resolver, 'nameserver 127.0.0.1\noptions timeout:2 attempts:1\n')
  const addresses = [PUBLIC, PUBLIC_V6, OTHER_PUBLIC, EXEMPT, ...FORBIDDEN].map((address) => `${address}/${address.includes(':') ? 128 : 32}`)
  const child = spawn('unshare', ['--net', '--mount', '--', '/bin/sh', '-c', SETUP, 'sh', resolver, ...addresses, '--', process.execPath, fileURLToPath(new URL('main.ts', import.meta.url)), driver], { stdio: ['pipe', 'pipe', 'pipe'] })
  const exited = once(child, 'exit')
  let stderr = ''
  child.stderr.on('data', (chunk: Buffer) => { stderr = (stderr + chunk.toString('utf8')).slice(-8_000) })

  const happened: Happening[] = []
  const waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()
  const ready = Promise.withResolvers<Facts>()
  createInterface({ input: child.stdout }).on('line', (line) => {
    const happening = Happening.parse(JSON.parse(line))
    if (happening.ready !== undefined) return ready.resolve(happening.ready)
    if (happening.answered === undefined) return void happened.push(happening)
    const asked = waiting.get(happening.answered)
    waiting.delete(happening.answered)
    if (happening.error === undefined) asked?.resolve(happening.value)
    else asked?.reject(new Error(happening.error))
  })
  void exited.then(([code]) => {
    const error = new Error(`the attacked host ended with ${code}: ${stderr}`)
    ready.reject(error)
    for (const asked of waiting.values()) asked.reject(error)
  })
  const stop = async () => {
    child.stdin.end()
    await exited
    rmSync(folder, { recursive: true, force: true })
  }
  const facts = await ready.promise.catch(async (error: unknown) => {
    await stop()
    throw error
  })

  let next = 0
  const host: AttackedHost = {
    facts, happened,
    ask<Value>(question: Question) {
      const id = ++next
      return new Promise<Value>((resolve, reject) => {
        waiting.set(id, { resolve: resolve as (value: unknown) => void, reject })
        child.stdin.write(`${JSON.stringify({ id, ...question })}\n`)
      })
    },
    exec: (vm, argv, options = {}) => host.ask<ExecResult>({ do: 'exec', vm, exec: { argv, ...options } }),
    sh: (vm, script, options) => host.exec(vm, ['/bin/sh', '-c', script], options),
    async send(vm, all) {
      const from = happened.length
      const { stdout, stderr: problem } = await host.exec(vm, ['perl', '-e', SEND], { stdin: all.map((bytes) => `${Buffer.from(bytes, 'latin1').toString('hex')}\n`).join('') })
      if (problem !== '') throw new Error(problem)
      return { answers: stdout.split('\n').slice(0, -1).map((line) => Buffer.from(line, 'hex').toString('latin1')), happenings: happened.slice(from) }
    },
    ended: (vm) => host.ask<VmEnd>({ do: 'ended', vm }),
    [Symbol.asyncDispose]: stop,
  }
  return host
}

export const reachedIn = (happenings: readonly Happening[]): string[] => happenings.flatMap(({ reached }) => reached ?? [])

/** The code of the last refusal in an answer, or its status line: what a test compares. */
export function outcomeOf(answer: string): string {
  return /.*\b(egress_\w+)/s.exec(answer)?.[1] ?? answer.split('\r\n')[0] ?? ''
}
