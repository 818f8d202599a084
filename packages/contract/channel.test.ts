import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createMux, encodeFrame, type Mux, type MuxStream } from './channel.ts'
import { FRAME, INITIAL_CREDIT_BYTES, MAX_FRAME_BYTES, MAX_OPEN_STREAMS, type OpenHeader } from './guest-protocol.ts'

const EXEC: OpenHeader = { kind: 'exec', argv: ['true'], cwd: '/', env: {} }

/** Two muxes with a wire between them that keeps bytes until `deliver` is called. */
function wired(onGuestOpen: (stream: MuxStream) => void = () => {}) {
  const wires = { toGuest: [] as Uint8Array[], toHost: [] as Uint8Array[] }
  const failures: string[] = []
  const host = createMux({ side: 'host', send: (frame) => wires.toGuest.push(frame), onOpen: () => {}, onFailure: (reason) => failures.push(`host: ${reason}`) })
  const guest = createMux({ side: 'guest', send: (frame) => wires.toHost.push(frame), onOpen: onGuestOpen, onFailure: (reason) => failures.push(`guest: ${reason}`) })
  /** Moves up to `bytes` bytes in one direction, cut wherever that falls. @returns whether there was anything */
  function deliver(direction: 'toGuest' | 'toHost', bytes = Number.POSITIVE_INFINITY): boolean {
    const all = Buffer.concat(wires[direction])
    const part = all.subarray(0, bytes)
    wires[direction] = part.length < all.length ? [all.subarray(part.length)] : []
    const target: Mux = direction === 'toGuest' ? guest : host
    if (part.length > 0) target.receive(new Uint8Array(part))
    return part.length > 0
  }
  return { host, guest, wires, failures, deliver, settle: () => { while ([deliver('toGuest'), deliver('toHost')].some(Boolean)) continue } }
}

test('whatever is written on many streams, in any interleaving and cut, arrives in order and whole, and no credit is exceeded', () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('write' as const), stream: fc.nat(4), size: fc.nat(200_000) }),
    fc.record({ do: fc.constant('deliver' as const), direction: fc.constantFrom('toGuest' as const, 'toHost' as const), bytes: fc.integer({ min: 1, max: 300_000 }) }),
    fc.record({ do: fc.constant('consume' as const), stream: fc.nat(4) }),
  )
  fc.assert(fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), (steps) => {
    const received = new Map<number, { stream: MuxStream; bytes: Buffer[]; unconsumed: number; ended: boolean }>()
    const pair = wired((stream) => {
      const state = { stream, bytes: [] as Buffer[], unconsumed: 0, ended: false }
      received.set(stream.id, state)
      stream.handlers = { onData: (bytes) => { state.bytes.push(Buffer.from(bytes)); state.unconsumed += bytes.length }, onEnd: () => { state.ended = true } }
    })
    const streams = Array.from({ length: 5 }, () => pair.host.open(EXEC))
    const sent = streams.map(() => [] as Buffer[])
    let next = 0
    for (const each of steps) {
      if (each.do === 'deliver') pair.deliver(each.direction, each.bytes)
      if (each.do === 'write') {
        const bytes = Buffer.alloc(each.size, next++ % 251)
        sent[each.stream]?.push(bytes)
        streams[each.stream]?.write(bytes)
      }
      const state = each.do === 'consume' ? received.get(streams[each.stream]?.id ?? 0) : undefined
      if (state !== undefined) {
        expect(state.unconsumed).toBeLessThanOrEqual(INITIAL_CREDIT_BYTES)
        state.stream.consumed(state.unconsumed)
        state.unconsumed = 0
      }
    }
    for (const stream of streams) stream.end()
    for (let round = 0; round < 100; round++) {
      pair.settle()
      for (const state of received.values()) {
        state.stream.consumed(state.unconsumed)
        state.unconsumed = 0
      }
    }
    streams.forEach((stream, index) => {
      const state = received.get(stream.id)
      expect(state?.ended).toBe(true)
      expect(Buffer.concat(state?.bytes ?? []).equals(Buffer.concat(sent[index] ?? []))).toBe(true)
    })
    expect(pair.failures).toEqual([])
  }), { numRuns: 60 })
})

test('random bytes from the peer never throw: they end the channel, or wait for the rest of a frame', () => {
  fc.assert(fc.property(fc.uint8Array({ minLength: 1, maxLength: 400 }), fc.integer({ min: 1, max: 50 }), (garbage, cut) => {
    const pair = wired()
    for (let at = 0; at < garbage.length; at += cut) pair.guest.receive(garbage.slice(at, at + cut))
    expect(pair.failures.length).toBeLessThanOrEqual(1)
    if (garbage.length >= 9 && (garbage[0] === 0 || (garbage[0] as number) > 5)) expect(pair.guest.failed).toMatch(/unknown frame type/)
  }), { numRuns: 500 })
})

test('a write beyond the credit waits, and drains as the peer consumes', () => {
  let far: MuxStream | null = null
  const pair = wired((stream) => { far = stream })
  let drained = 0
  const stream = pair.host.open(EXEC, { onDrain: () => { drained += 1 } })
  expect(stream.write(new Uint8Array(INITIAL_CREDIT_BYTES))).toBe(true)
  expect(stream.write(new Uint8Array(10))).toBe(false)
  pair.settle()
  expect(drained).toBe(0)
  ;(far as MuxStream | null)?.consumed(INITIAL_CREDIT_BYTES)
  pair.settle()
  expect(drained).toBe(1)
})

test.each([
  ['data beyond the credit', () => Array.from({ length: INITIAL_CREDIT_BYTES / MAX_FRAME_BYTES + 1 }, () => encodeFrame(FRAME.DATA, 2, new Uint8Array(MAX_FRAME_BYTES))), /with a credit of 0/],
  ['a credit beyond the window', () => [encodeFrame(FRAME.CREDIT, 2, new Uint8Array([0, 0, 0, 1]))], /exceeds the window/],
  ['data after its end', () => [encodeFrame(FRAME.END, 2, new Uint8Array(0)), encodeFrame(FRAME.DATA, 2, new Uint8Array(1))], /after its end/],
  ['a stream of the other side', () => [encodeFrame(FRAME.OPEN, 3, Buffer.from(JSON.stringify(EXEC)))], /may not be opened/],
  ['a stream number used twice', () => [encodeFrame(FRAME.OPEN, 2, Buffer.from(JSON.stringify(EXEC)))], /may not be opened/],
  ['a header that is not JSON', () => [encodeFrame(FRAME.OPEN, 4, Buffer.from('{'))], /not JSON/],
  ['data on a stream that never was', () => [encodeFrame(FRAME.DATA, 8, new Uint8Array(1))], /never opened/],
])('%s ends the channel and resets every stream', (_title, frames, reason) => {
  const resets: string[] = []
  const pair = wired((stream) => { stream.handlers = { onReset: (text) => resets.push(text) } })
  pair.host.open(EXEC)
  pair.settle()
  for (const frame of frames()) pair.guest.receive(frame)
  expect(pair.guest.failed).toMatch(reason)
  expect(pair.failures).toHaveLength(1)
  expect(resets).toHaveLength(1)
})

test('more open streams than allowed are refused one by one, and the channel goes on', () => {
  const pair = wired()
  let refused = 0
  for (let count = 0; count < MAX_OPEN_STREAMS + 3; count++) pair.host.open(EXEC, { onReset: () => { refused += 1 } })
  pair.settle()
  expect(refused).toBe(3)
  expect(pair.failures).toEqual([])
})

test('a header that does not fit in a frame is refused before anything is sent', () => {
  const pair = wired()
  expect(() => pair.host.open({ ...EXEC, argv: ['x'.repeat(MAX_FRAME_BYTES)] })).toThrow(RangeError)
  expect(pair.wires.toGuest).toEqual([])
})
