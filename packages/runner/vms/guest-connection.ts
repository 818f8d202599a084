import { randomBytes } from 'node:crypto'
import { Readable, type Duplex } from 'node:stream'
import type { z } from 'zod'
import { DomainError } from '@swarm/core/errors.ts'
import { createMux, type Mux, type MuxStream } from '@swarm/contract/channel.ts'
import { ClockAnswer, FRAME_HEADER_BYTES, HELLO_PREFIX, PrepareAcknowledgement, READY_LINE, type OpenHeader, type PrepareHeader } from '@swarm/contract/guest-protocol.ts'
import type { ExecOptions, ExecResult } from '../drivers/driver.ts'
import { throttle } from './channel-rate.ts'
import { collectExec, DEFAULT_OUTPUT_BYTES } from './guest-exec.ts'

/** How long after its own timeout an exec may stay unanswered before the host gives it up. */
const EXEC_GRACE_MS = 15_000
/** What a guest may have said before its hello: a few ready lines. */
const MAX_PREAMBLE_BYTES = 64 * 1024
/** What it may have been saying when it was forked: what its streams had credit for. */
const MAX_TAKEOVER_BYTES = 32 * 1024 * 1024
/** For the guest to answer before it is forked. */
const HOLD_TIMEOUT_MS = 20_000

/**
 * How exactly a guest's clock is set, and how often it is moved and asked for that at most: the time that `prepare` sends is late by its
 * way (50 to 120 ms in a clone that runs for the first time, under emulation).
 */
const CLOCK = { withinMs: 25, rounds: 3 }

/** The host's end of a channel, over any byte stream. */
export interface GuestConnection {
  /** Waits until the guest says that it is ready; only while nothing else was sent (template). */
  ready(): Promise<void>
  hello(): Promise<void>
  /**
   * The same to a guest that believes that it is still in the midst of talking to somebody else, who was held (a fork): its half of that
   * channel is broken first, by a frame that is none.
   */
  takeOver(): Promise<void>
  /**
   * Sends nothing more until the returned function is called, and comes back when the guest has taken all that was sent: then none of it
   * is on its way.
   */
  hold(): Promise<() => void>
  /** @throws DomainError vm_start_failed */
  prepare(header: Omit<PrepareHeader, 'kind' | 'nowMs'>): Promise<PrepareAcknowledgement>
  /** Gives the guest's kernel randomness that nobody else has; ids and host name stay as they were prepared. */
  reseed(): Promise<void>
  /** Sets the guest's clock by the host's, to a few ms: after a restore, and whenever it stood still. */
  setClock(): Promise<void>
  exec(options: ExecOptions): Promise<ExecResult>
  /** Resolves with a sign of life of the guest: at once when it has sent a frame since this was asked last. Never, when there is none. */
  ping(): Promise<void>
  onForward(handler: (stream: MuxStream) => void): void
  /** How the channel ended: by the peer's close or by a violation. */
  readonly closed: Promise<{ violation: string | null }>
  close(): void
}

export function connectGuest(id: string, socket: Duplex): GuestConnection {
  const closed = Promise.withResolvers<{ violation: string | null }>()
  let onBytes: (bytes: Buffer) => void = () => {}
  let forwardHandler: ((stream: MuxStream) => void) | null = null
  /** Frames that wait while nothing is sent. */
  let held: Uint8Array[] | null = null
  let identity: Pick<PrepareHeader, 'machineId' | 'hostname'> | null = null
  /** By how much its clock was behind when it was prepared, and a little more: its answer had a way too. */
  let lateMs = 0
  /** A whole frame came from the guest since it was asked for a sign of life. */
  let heard = false
  /** Takes a guest's due for what it sent, once it has said hello. */
  let spend: (bytes: number, frames: number) => void = () => {}
  const violate = (reason: string) => {
    mux.fail(reason)
    closed.resolve({ violation: reason })
    socket.destroy()
  }
  const mux: Mux = createMux({
    side: 'host',
    send: (frame) => void (held === null ? socket.writable && socket.write(frame) : held.push(frame)),
    onOpen(stream) {
      if (stream.header.kind === 'forward' && forwardHandler !== null) forwardHandler(stream)
      else stream.reset('nobody takes such streams')
    },
    onFailure: violate,
  })
  socket.on('data', (bytes: Buffer) => onBytes(bytes))
  socket.resume() // it may have been given to us paused
  socket.on('error', () => socket.destroy()) // 'close' follows
  socket.on('close', () => {
    mux.fail('the channel is closed')
    closed.resolve({ violation: null })
  })
  const lost = () => closed.promise.then(({ violation }): never => {
    throw new DomainError('vm_ended', { id, reason: 'channel', detail: violation ?? 'the channel was closed' })
  })

  /** Resolves with what follows the first occurrence of `text`; everything before is thrown away. */
  function waitFor(text: string, mostBytes = MAX_PREAMBLE_BYTES): Promise<Buffer> {
    const found = Promise.withResolvers<Buffer>()
    let [last, count] = [Buffer.alloc(0), 0]
    onBytes = (bytes) => {
      const seen = Buffer.concat([last, bytes])
      const at = seen.indexOf(text)
      count += bytes.length
      last = Buffer.from(seen.subarray(-(text.length - 1)))
      if (at >= 0) {
        onBytes = () => {}
        found.resolve(seen.subarray(at + text.length))
      } else if (count > mostBytes) violate('the guest does not say hello')
    }
    return Promise.race([found.promise, lost()])
  }

  function hello(): Promise<void> {
    const line = `${HELLO_PREFIX} ${randomBytes(16).toString('hex')}\n`
    const done = Promise.withResolvers<void>()
    let seen = Buffer.alloc(0)
    onBytes = (bytes) => {
      seen = Buffer.concat([seen, bytes])
      const at = seen.indexOf(line)
      if (at < 0) return seen.length > MAX_PREAMBLE_BYTES ? violate('the guest does not say hello') : undefined
      spend = throttle(socket)
      onBytes = (bytes) => {
        const frames = mux.receive(bytes)
        // Parts of one are no sign of life: a guest could drip them for ever.
        heard ||= frames > 0
        spend(bytes.length, frames)
      }
      done.resolve()
      onBytes(seen.subarray(at + line.length))
    }
    socket.write(line)
    return Promise.race([done.promise, lost()])
  }

  /** One question, one answer. */
  function ask<Answer>(header: OpenHeader, schema: z.ZodType<Answer>): Promise<Answer> {
    const answer = Promise.withResolvers<Answer>()
    let text = ''
    mux.open(header, {
      onData: (bytes) => { text += Buffer.from(bytes).toString('utf8') },
      onEnd() {
        try {
          answer.resolve(schema.parse(JSON.parse(text)))
        } catch (error) {
          answer.reject(new DomainError('vm_start_failed', { problem: `its answer to ${header.kind} is not valid` }, { cause: error }))
        }
      },
      onReset: (reason) => answer.reject(new DomainError('vm_start_failed', { problem: `it could not be prepared: ${reason}` })),
    }).end()
    return answer.promise
  }

  const connection: GuestConnection = {
    closed: closed.promise,
    close: () => void socket.destroy(),
    onForward(handler) {
      forwardHandler = handler
    },
    async ready() {
      await waitFor(READY_LINE)
    },
    hello,
    async takeOver() {
      socket.write(Buffer.alloc(FRAME_HEADER_BYTES, 0xff))
      // Not before: what comes right behind a broken frame is thrown away with it.
      await waitFor(READY_LINE, MAX_TAKEOVER_BYTES)
      await hello()
    },
    async hold() {
      const release = (): void => {
        const frames = held ?? []
        held = null
        for (const frame of frames) if (socket.writable) socket.write(frame)
      }
      // Opened and ended before the exec returns its promise; what comes after waits. Its answer says that the guest has read so far.
      const probe = connection.exec({ argv: ['/bin/true'], cwd: '/', timeoutMs: HOLD_TIMEOUT_MS })
      held = []
      try {
        const { code } = await probe
        if (code !== 0) throw new DomainError('vm_refused', { id, problem: 'it does not answer' })
        return release
      } catch (error) {
        release()
        throw error
      }
    },
    async prepare(header) {
      identity = { machineId: header.machineId, hostname: header.hostname }
      const acknowledged = await ask({ kind: 'prepare', nowMs: Date.now(), ...header }, PrepareAcknowledgement)
      lateMs = Date.now() - acknowledged.guestNowMs
      return acknowledged
    },
    async reseed() {
      if (identity === null) throw new DomainError('vm_refused', { id, problem: 'it was not prepared' })
      await connection.prepare({ ...identity, entropy: randomBytes(32).toString('base64'), mountScratch: false })
    },
    async setClock() {
      let stepMs = lateMs
      lateMs = 0
      for (let round = 0; round < CLOCK.rounds; round++) {
        const askedAt = performance.now()
        const wallMs = Date.now()
        const { guestNowMs } = await ask({ kind: 'clock', stepMs }, ClockAnswer)
        // Its answer lies somewhere within the trip, and is wrong for certain only by more than that.
        const halfTripMs = (performance.now() - askedAt) / 2
        const offsetMs = guestNowMs - (wallMs + halfTripMs)
        if (Math.abs(offsetMs) + halfTripMs <= CLOCK.withinMs) return
        stepMs = Math.abs(offsetMs) > halfTripMs ? -offsetMs : 0
      }
      if (stepMs !== 0) await ask({ kind: 'clock', stepMs }, ClockAnswer)
    },
    ping() {
      const alive = Promise.withResolvers<void>()
      if (heard) alive.resolve()
      else {
        const ends = () => { if (mux.failed === null) alive.resolve() }
        mux.open({ kind: 'ping' }, { onEnd: ends, onReset: ends }).end()
      }
      heard = false
      return alive.promise
    },
    exec(options) {
      options.signal?.throwIfAborted()
      const answer = Promise.withResolvers<ExecResult>()
      const { argv, cwd = '/work', env = {}, timeoutMs, correlationId, maxOutputBytes = DEFAULT_OUTPUT_BYTES } = options
      const startedAt = performance.now()
      const stream = openExec()
      const onAbort = () => {
        stream.reset('cancelled by the host')
        answer.reject(options.signal?.reason)
      }
      const timer = timeoutMs === undefined ? undefined : setTimeout(() => {
        stream.reset('no answer after the timeout')
        answer.resolve({ code: null, signal: 'SIGKILL', timedOut: true, truncated: false, wallMs: performance.now() - startedAt, stdout: '', stderr: 'the guest did not answer after the timeout\n' })
      }, timeoutMs + EXEC_GRACE_MS)
      options.signal?.addEventListener('abort', onAbort, { once: true })
      collectExec(stream, options, {
        onExit: (result) => answer.resolve(result),
        onRecords: (count) => spend(0, count),
        onReset: (reason) => answer.reject(mux.failed === null ? new DomainError('vm_refused', { id, problem: reason }) : new DomainError('vm_ended', { id, reason: 'channel', detail: reason })),
        onViolation: violate,
      })
      const { stdin } = options
      if (stdin instanceof Readable) void writeAll(stream, stdin)
      else {
        if (stdin !== undefined) stream.write(Buffer.from(stdin))
        stream.end()
      }
      return answer.promise.finally(() => {
        clearTimeout(timer)
        if (stdin instanceof Readable) stdin.destroy()
        options.signal?.removeEventListener('abort', onAbort)
      })

      function openExec(): MuxStream {
        try {
          return mux.open({ kind: 'exec', argv, cwd, env, maxOutputBytes, ...(timeoutMs === undefined ? {} : { timeoutMs }), ...(correlationId === undefined ? {} : { correlationId }) })
        } catch (error) {
          if (error instanceof RangeError) throw new DomainError('invalid_input', { field: 'argv or env', problem: error.message }, { cause: error })
          throw error
        }
      }
    },
  }
  return connection
}

/** Carries a readable's bytes into a stream as fast as the guest takes them. */
async function writeAll(stream: MuxStream, source: Readable): Promise<void> {
  try {
    for await (const chunk of source as AsyncIterable<Uint8Array>) {
      if (!stream.write(chunk)) await new Promise<void>((resolve) => { stream.handlers.onDrain = resolve })
    }
    stream.end()
  } catch {
    // Whoever gave it has ended it; after the exec that is nothing.
    stream.reset('its input was cut off')
  }
}
