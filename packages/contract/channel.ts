import { FRAME, FRAME_HEADER_BYTES, INITIAL_CREDIT_BYTES, MAX_FRAME_BYTES, MAX_OPEN_STREAMS, OpenHeader } from './guest-protocol.ts'

/*
 * The mux of guest-protocol.ts as pure code: bytes come in by `receive`, go out by `send`. Host and guest run this same
 * file. Nothing here waits, draws randomness or reads a clock.
 */

/** What a stream's user is told. All are called synchronously from `receive` (or `fail`). */
export interface StreamHandlers {
  /** Bytes of the peer. The user calls `stream.consumed(n)` when it has dealt with them; only then may the peer send more. */
  onData?(bytes: Uint8Array): void
  /** The peer sends no more. */
  onEnd?(): void
  /** The stream is over, for a reason that is the peer's, or the channel's when that failed. */
  onReset?(reason: string): void
  /** All that was written has gone out after `write` had answered false. */
  onDrain?(): void
}

export interface MuxStream {
  readonly id: number
  readonly header: OpenHeader
  handlers: StreamHandlers
  /** Queues bytes; false when some had to wait for credit: stop until `onDrain`. */
  write(bytes: Uint8Array): boolean
  /** Half close, after everything that was written. */
  end(): void
  reset(reason: string): void
  consumed(bytes: number): void
}

export interface Mux {
  /**
   * Feeds bytes of the peer, split anywhere; handlers get views of them, so the caller must not reuse the buffer. After a violation it ignores everything.
   * @returns how many frames it dealt with
   */
  receive(bytes: Uint8Array): number
  /** @throws RangeError when the header does not fit in one frame */
  open(header: OpenHeader, handlers?: StreamHandlers): MuxStream
  /** Ends the channel on this side: every open stream is reset with the reason. Idempotent. */
  fail(reason: string): void
  readonly openStreams: number
  readonly failed: string | null
}

export interface MuxOptions {
  /** The host opens even streams, the guest odd ones. */
  side: 'host' | 'guest'
  send(frame: Uint8Array): void
  /** A stream that the peer opened: set `stream.handlers` before returning. */
  onOpen(stream: MuxStream): void
  /** The peer broke the protocol: the channel, and with it the microVM, is over. */
  onFailure(reason: string): void
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** One frame as bytes. @param payload at most MAX_FRAME_BYTES */
export function encodeFrame(type: number, stream: number, payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(FRAME_HEADER_BYTES + payload.length)
  const view = new DataView(frame.buffer)
  view.setUint8(0, type)
  view.setUint32(1, stream)
  view.setUint32(5, payload.length)
  frame.set(payload, FRAME_HEADER_BYTES)
  return frame
}

interface StreamState {
  stream: MuxStream
  credit: number
  queue: Uint8Array[]
  wantsDrain: boolean
  ending: boolean
  ended: boolean
  peerEnded: boolean
  /** Bytes that the peer may still send before it breaks the protocol. */
  granted: number
  /** Consumed and not yet given back. */
  owed: number
}

export function createMux(options: MuxOptions): Mux {
  const states = new Map<number, StreamState>()
  const ownParity = options.side === 'host' ? 0 : 1
  let nextId = options.side === 'host' ? 2 : 1
  let lastPeerId = 0
  let failed: string | null = null
  let pending: Uint8Array = new Uint8Array(0)

  /** Reasons are cut to one frame; a header that does not fit is refused in `open`. */
  const sendText = (type: number, id: number, text: string) => options.send(encodeFrame(type, id, encoder.encode(text).subarray(0, MAX_FRAME_BYTES)))

  function forgetIfOver(state: StreamState): void {
    if (state.ended && state.peerEnded) states.delete(state.stream.id)
  }

  function flush(state: StreamState): void {
    while (state.credit > 0 && state.queue.length > 0) {
      const head = state.queue[0] as Uint8Array
      const size = Math.min(head.length, state.credit, MAX_FRAME_BYTES)
      options.send(encodeFrame(FRAME.DATA, state.stream.id, head.subarray(0, size)))
      state.credit -= size
      if (size === head.length) state.queue.shift()
      else state.queue[0] = head.subarray(size)
    }
    if (state.queue.length > 0) return
    if (state.ending && !state.ended) {
      state.ended = true
      options.send(encodeFrame(FRAME.END, state.stream.id, new Uint8Array(0)))
      forgetIfOver(state)
    } else if (state.wantsDrain) {
      state.wantsDrain = false
      state.stream.handlers.onDrain?.()
    }
  }

  function createStream(id: number, header: OpenHeader, handlers: StreamHandlers): StreamState {
    const live = () => failed === null && states.get(id) === state
    const stream: MuxStream = {
      id, header, handlers,
      write(bytes) {
        if (!live() || state.ending) return true
        if (bytes.length > 0) state.queue.push(bytes)
        flush(state)
        if (state.queue.length === 0) return true
        state.wantsDrain = true
        return false
      },
      end() {
        if (!live() || state.ending) return
        state.ending = true
        flush(state)
      },
      reset(reason) {
        if (!live()) return
        states.delete(id)
        sendText(FRAME.RESET, id, reason)
      },
      consumed(bytes) {
        if (!live()) return
        state.owed += bytes
        // Credits go back in halves of the window: one small frame per 128 KiB instead of one per chunk.
        if (state.peerEnded || state.owed < INITIAL_CREDIT_BYTES / 2) return
        const payload = new Uint8Array(4)
        new DataView(payload.buffer).setUint32(0, state.owed)
        state.granted += state.owed
        state.owed = 0
        options.send(encodeFrame(FRAME.CREDIT, id, payload))
      },
    }
    const state: StreamState = { stream, credit: INITIAL_CREDIT_BYTES, queue: [], wantsDrain: false, ending: false, ended: false, peerEnded: false, granted: INITIAL_CREDIT_BYTES, owed: 0 }
    states.set(id, state)
    return state
  }

  function fail(reason: string): void {
    if (failed !== null) return
    failed = reason
    const open = [...states.values()]
    states.clear()
    for (const { stream } of open) stream.handlers.onReset?.(reason)
  }

  function violation(reason: string): void {
    if (failed !== null) return
    fail(reason)
    options.onFailure(reason)
  }

  function onOpenFrame(id: number, payload: Uint8Array): void {
    if (id === 0 || id % 2 === ownParity || id <= lastPeerId) return violation(`stream ${id} may not be opened by the peer`)
    lastPeerId = id
    const header = parseHeader(payload)
    if (typeof header === 'string') return violation(`stream ${id}: ${header}`)
    if (states.size >= MAX_OPEN_STREAMS) return sendText(FRAME.RESET, id, 'too many open streams')
    options.onOpen(createStream(id, header, {}).stream)
  }

  function onCredit(state: StreamState, payload: Uint8Array): void {
    if (payload.length !== 4) return violation('a credit has 4 bytes')
    const bytes = new DataView(payload.buffer, payload.byteOffset, 4).getUint32(0)
    if (bytes === 0 || state.credit + bytes > INITIAL_CREDIT_BYTES) return violation(`a credit of ${bytes} bytes exceeds the window`)
    state.credit += bytes
    flush(state)
  }

  function onFrame(type: number, id: number, payload: Uint8Array): void {
    if (type === FRAME.OPEN) return onOpenFrame(id, payload)
    const state = states.get(id)
    if (state === undefined) {
      // A stream that this side has reset or finished may still have frames on the way; one that never was is a violation.
      const known = id !== 0 && (id % 2 === ownParity ? id < nextId : id <= lastPeerId)
      return known ? undefined : violation(`frame ${type} for stream ${id}, which was never opened`)
    }
    if (type === FRAME.CREDIT) return onCredit(state, payload)
    if (type === FRAME.RESET) {
      states.delete(id)
      return state.stream.handlers.onReset?.(decoder.decode(payload))
    }
    if (state.peerEnded) return violation(`stream ${id}: data after its end`)
    if (type === FRAME.DATA) {
      if (payload.length > state.granted) return violation(`stream ${id}: ${payload.length} bytes with a credit of ${state.granted}`)
      state.granted -= payload.length
      return state.stream.handlers.onData?.(payload)
    }
    state.peerEnded = true
    state.stream.handlers.onEnd?.()
    forgetIfOver(state)
  }

  function receive(bytes: Uint8Array): number {
    if (failed !== null) return 0
    let frames = 0
    let rest = pending.length === 0 ? bytes : concat(pending, bytes)
    while (failed === null && rest.length >= FRAME_HEADER_BYTES) {
      const view = new DataView(rest.buffer, rest.byteOffset, FRAME_HEADER_BYTES)
      const [type, id, length] = [view.getUint8(0), view.getUint32(1), view.getUint32(5)]
      if (type < FRAME.OPEN || type > FRAME.CREDIT) violation(`unknown frame type ${type}`)
      else if (length > MAX_FRAME_BYTES) violation(`a frame of ${length} bytes`)
      if (failed !== null) return frames
      if (rest.length < FRAME_HEADER_BYTES + length) break
      const payload = rest.subarray(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + length)
      rest = rest.subarray(FRAME_HEADER_BYTES + length)
      onFrame(type, id, payload)
      frames += 1
    }
    pending = rest.slice()
    return frames
  }

  return {
    receive, fail,
    open(header, handlers = {}) {
      const text = JSON.stringify(header)
      if (encoder.encode(text).length > MAX_FRAME_BYTES) throw new RangeError(`the header of a stream is limited to ${MAX_FRAME_BYTES} bytes; send large data as DATA`)
      const id = nextId
      nextId += 2
      const state = createStream(id, header, handlers)
      if (failed !== null) {
        states.delete(id)
        queueMicrotask(() => state.stream.handlers.onReset?.(failed as string))
      } else sendText(FRAME.OPEN, id, text)
      return state.stream
    },
    get openStreams() { return states.size },
    get failed() { return failed },
  }
}

function parseHeader(payload: Uint8Array): OpenHeader | string {
  let json: unknown
  try {
    json = JSON.parse(decoder.decode(payload))
  } catch {
    return 'its header is not JSON'
  }
  const parsed = OpenHeader.safeParse(json)
  return parsed.success ? parsed.data : `its header is not valid: ${parsed.error.issues[0]?.message ?? ''}`
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length + b.length)
  out.set(a)
  out.set(b, a.length)
  return out
}
