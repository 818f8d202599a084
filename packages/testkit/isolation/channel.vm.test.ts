import { afterAll, beforeAll, expect, test } from 'vitest'
import { FRAME, MAX_OPEN_STREAMS } from '@swarm/contract/guest-protocol.ts'
import { eachIsolatingDriver } from './drivers.ts'
import { startAttackedHost, type AttackedHost } from './host.ts'

/*
 * The channel is all that a guest can send to the host. Root in the guest takes the supervisor's end of it and writes what it
 * likes: garbage, huge frames, half frames, floods. It loses its own microVM, or is made to wait; the host and the other
 * microVM go on.
 */

/** What the supervisor's descriptor of the channel links to. */
const CHANNEL_LINK: Record<string, string> = { qemu: '^/dev/vport', firecracker: '^socket:' }

/** Takes the supervisor's descriptor (pidfd_open 434, pidfd_getfd 438), stops the supervisor and runs the attack with `$port`. */
const TAKE = String.raw`use strict; my ($link) = @ARGV; my ($pid) = grep { my $f; open($f, '<', "/proc/$_/cmdline") and <$f> =~ m{^/usr/local/bin/node\0/opt/swarm/supervisor} } map { m{(\d+)} } glob('/proc/[0-9]*');
my ($fd) = map { m{/fd/(\d+)$} } grep { (readlink($_) // '') =~ $link } glob("/proc/$pid/fd/*"); die "no channel\n" unless defined $fd;
my $pidfd = syscall(434, $pid + 0, 0); my $own = syscall(438, $pidfd, $fd + 0, 0); die "no descriptor: $!" if $own < 0; open(my $port, '+>&=', $own) or die $!; binmode $port;
sub put { my ($bytes) = @_; my $at = 0; while ($at < length $bytes) { $at += syswrite($port, $bytes, length($bytes) - $at, $at) // die "write: $!" } }
sub frame { my ($type, $stream, $payload) = @_; return pack('CNN', $type, $stream, length $payload) . $payload }
`

await eachIsolatingDriver((driver) => {
  let host: AttackedHost
  let count = 0
  beforeAll(async () => { host = await startAttackedHost(driver) })
  afterAll(async () => { await host[Symbol.asyncDispose]() })

  /** Runs an attack in a microVM of its own; what it became of it, and how the other one fares meanwhile. */
  async function attack(script: string): Promise<{ reason: string; detail: string }> {
    const vm = `victim-${++count}`
    await host.ask({ do: 'restore', vm })
    const running = host.exec(vm, ['perl', '-e', `${TAKE}${script}`, CHANNEL_LINK[driver] ?? ''], { timeoutMs: 60_000 }).then((end) => JSON.stringify(end), String)
    const end = await Promise.race([host.ended(vm), running.then(async (said) => Promise.race([host.ended(vm), new Promise<never>((_resolve, reject) => { setTimeout(() => reject(new Error(`its microVM lives on: ${said}`)), 3_000) })]))])
    expect(await host.sh('second', 'echo alive')).toMatchObject({ code: 0, stdout: 'alive\n' })
    await host.ask({ do: 'dispose', vm })
    return end
  }

  test.each([
    ['random bytes', 'open(my $r, "<", "/dev/urandom"); for (1 .. 64) { sysread($r, my $b, 4096); put("\\xfe" . $b) } sleep 60', /unknown frame type/],
    ['a frame of 4 GB', 'put(pack("CNN", 2, 1, 0xffffffff)); put("x" x 4096) for 1 .. 1000; sleep 60', /a frame of 4294967295 bytes/],
    ['a frame one byte too long', 'put(frame(2, 1, "x" x 65537)); sleep 60', /a frame of 65537 bytes/],
    ['data for a stream that never was', 'put(frame(2, 99991, "hello")); sleep 60', /never opened/],
    ['a stream of the host\'s numbers', `put(frame(1, 100000, '{"kind":"forward","listener":"proxy"}')); sleep 60`, /may not be opened by the peer/],
    ['a header that is no JSON', 'put(frame(1, 100001, "{" x 1000)); sleep 60', /header is not JSON/],
    ['a header of a kind that does not exist', `put(frame(1, 100001, '{"kind":"shell"}')); sleep 60`, /header is not valid/],
    ['credit without end', `put(frame(1, 100001, '{"kind":"forward","listener":"proxy"}')); put(frame(5, 100001, pack("N", 0xffffffff))) for 1 .. 4; sleep 60`, /exceeds the window/],
  ])('%s costs the guest its microVM, and nobody else anything', async (_title, script, detail) => {
    expect(await attack(script)).toEqual({ reason: 'protocol_violation', detail: expect.stringMatching(detail) })
  })

  test('half a frame, byte by byte, keeps nobody waiting but itself', async () => {
    const vm = 'slow'
    await host.ask({ do: 'restore', vm })
    // A DATA frame of 64 KiB that never comes to its end.
    const slow = host.exec(vm, ['perl', '-e', `${TAKE}put(pack("CNN", ${FRAME.DATA}, 1, 65536)); for (1 .. 40) { put("x"); select(undef, undef, undef, 0.05) } print "sent"; sleep 60`, CHANNEL_LINK[driver] ?? ''], { timeoutMs: 5_000 }).catch((error: unknown) => error)
    for (let round = 0; round < 5; round++) expect(await host.sh('second', 'echo alive')).toMatchObject({ stdout: 'alive\n' })
    await host.ask({ do: 'dispose', vm })
    expect(String(await slow)).toContain('disposed')
  })

  test('streams without number are refused beyond the limit, and keep nobody else waiting', async () => {
    const vm = 'many'
    await host.ask({ do: 'restore', vm })
    // Its supervisor would answer what the host says to these.
    const opened = `kill('STOP', $pid); put(frame(1, 100001 + 2 * $_, '{"kind":"forward","listener":"proxy"}')) for 0 .. ${MAX_OPEN_STREAMS * 8}; sleep 60`
    const flood = host.exec(vm, ['perl', '-e', `${TAKE}${opened}`, CHANNEL_LINK[driver] ?? ''], { timeoutMs: 20_000 }).catch((error: unknown) => error)
    const held: number[] = []
    await expect.poll(async () => {
      held.push(await host.ask<number>({ do: 'forwards', vm }))
      return held.at(-1)
    }, { timeout: 30_000 }).toBeGreaterThan(MAX_OPEN_STREAMS / 2)
    for (let round = 0; round < 3; round++) {
      expect(await host.sh('second', 'echo alive')).toMatchObject({ stdout: 'alive\n' })
      held.push(await host.ask<number>({ do: 'forwards', vm }))
    }
    expect(Math.max(...held)).toBeLessThanOrEqual(MAX_OPEN_STREAMS)
    await host.ask({ do: 'dispose', vm })
    expect(String(await flood)).toContain('disposed')
    expect(await host.sh('second', 'echo alive')).toMatchObject({ stdout: 'alive\n' })
  })
})
