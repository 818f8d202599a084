import type { Duplex } from 'node:stream'
import type { Vm } from '@swarm/runner/drivers/driver.ts'

const ROUNDS = 40
/** Answers each byte with the time, ns since the epoch (clock_gettime 228, CLOCK_REALTIME 0). */
const CLIENT = `use Socket; socket(my $s, PF_INET, SOCK_STREAM, 0) or die; connect($s, sockaddr_in(3128, inet_aton('127.0.0.1'))) or die;
  while (sysread($s, my $byte, 1)) { my $t = pack('q2', 0, 0); syscall(228, 0, $t); my ($sec, $ns) = unpack('q2', $t); syswrite($s, pack('q', $sec * 1000000000 + $ns)) }`

/**
 * How far the guest's clock is off the host's, by questions over a stream of the guest's: its answer lies somewhere within
 * the round trip, so half of the shortest one bounds the error. Both in ms.
 * @param restoreHandler given the streams that follow
 */
export async function measureClock(vm: Vm, restoreHandler: (stream: Duplex) => void): Promise<{ offsetMs: number; boundMs: number }> {
  const arrived = Promise.withResolvers<Duplex>()
  vm.onForward((stream) => { arrived.resolve(stream) })
  const running = vm.exec({ argv: ['perl', '-e', CLIENT], timeoutMs: 60_000 })
  const stream = await Promise.race([arrived.promise, running.then((end): never => { throw new Error(`the client ended: ${end.stderr}`) })])
  vm.onForward(restoreHandler)
  let best = { offsetMs: Number.NaN, boundMs: Number.POSITIVE_INFINITY }
  for (let round = 0; round < ROUNDS; round++) {
    const [wallMs, askedAt] = [Date.now() + subMillisecond(), performance.now()]
    stream.write('?')
    const answer = await readExactly(stream, 8)
    const tripMs = performance.now() - askedAt
    const guestMs = Number(answer.readBigInt64LE(0)) / 1e6
    if (tripMs / 2 < best.boundMs) best = { offsetMs: guestMs - (wallMs + tripMs / 2), boundMs: tripMs / 2 }
  }
  stream.destroy()
  await running.catch(() => {}) // cut off with its stream
  return best
}

/** Date.now() is whole milliseconds; the rest, from the same clock. */
function subMillisecond(): number {
  return (performance.timeOrigin + performance.now()) % 1
}

async function readExactly(stream: Duplex, bytes: number): Promise<Buffer> {
  for (;;) {
    const chunk = stream.read(bytes) as Buffer | null
    if (chunk !== null) return chunk
    await new Promise<void>((resolve, reject) => {
      stream.once('readable', resolve)
      stream.once('close', () => reject(new Error('the stream was closed')))
    })
  }
}
