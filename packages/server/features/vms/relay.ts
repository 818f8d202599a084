import { CHANNEL, MAX_CHUNK_BYTES, STREAM_CLOSE_CODES, STREAM_WINDOW_BYTES, StreamFromClient, StreamFromRunner, StreamStart, type StreamFailure } from '@swarm/contract/vm-operations.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { parseJson } from '@swarm/core/json.ts'
import type { RawData, WebSocket } from 'ws'
import type { z } from 'zod'
import { ANSWER_MS } from './operations.ts'

/** A peer that lets more than this wait to be sent ignores what the other has consumed. */
const MOST_BUFFERED_BYTES = 1024 * 1024
/** What a message that is held takes besides its bytes, roughly. */
const HELD_MESSAGE_BYTES = 256
const FIRST_MESSAGE_MS = 10_000
const BEAT_MS = 15_000
/** Streams of people into one microVM at once: its channel has room for 512, and the agent needs most. */
export const MOST_STREAMS = 8

export interface RelayDependencies {
  /** Records the request. @returns the operation, and the runner that it is for */
  readonly begin: (start: StreamStart) => Promise<{ operationId: string; runnerId: string }>
  /** Records what came of it; only the first end counts. */
  readonly end: (operationId: string, end: { exitCode: number | null; failure: string | null }) => Promise<void>
  /** Whether the client may still do this (its token was not revoked). */
  readonly stillAllowed: () => Promise<boolean>
  readonly onFault: (error: unknown, what: string) => void
}

interface Stream { readonly vmId: string; readonly runnerId: string; attach(runner: WebSocket): void; fail(failure: z.infer<typeof StreamFailure>): void }

/**
 * Joins the socket of a client with that of the runner of its microVM (contract/vm-operations.ts). What goes through is neither
 * kept nor recorded; only how it ended is.
 */
export function createRelay() {
  const streams = new Map<string, Stream>()
  /** Of each microVM, those that are about to start included. */
  const counts = new Map<string, number>()

  /** Serves the socket of a client until it closes. */
  function serveClient(client: WebSocket, vmId: string, deps: RelayDependencies): void {
    const count = (change: 1 | -1): number => {
      const now = (counts.get(vmId) ?? 0) + change
      if (now === 0) counts.delete(vmId)
      else counts.set(vmId, now)
      return now
    }
    const running = count(1)
    client.once('close', () => { count(-1) })
    if (running > MOST_STREAMS) return refuse(new DomainError('vm_streams_exhausted', { id: vmId, limit: MOST_STREAMS }))
    const unopened = setTimeout(() => { client.close(STREAM_CLOSE_CODES.protocol, 'nothing was asked for') }, FIRST_MESSAGE_MS)
    client.once('close', () => { clearTimeout(unopened) })
    client.once('message', (data, isBinary) => {
      clearTimeout(unopened)
      const start = StreamStart.safeParse(isBinary ? undefined : parseJson(String(data)))
      if (!start.success) {
        const [issue] = start.error.issues
        return refuse(new DomainError('invalid_input', { problem: issue?.message ?? 'not valid', field: issue?.path.join('.') || 'the first message' }))
      }
      // What comes meanwhile waits in the kernel, but for what came together with this one.
      client.pause()
      const held = holdMessages(client, () => { refuse(new DomainError('invalid_input', { problem: 'more was sent than was taken', field: 'what follows the first message' })) })
      deps.begin(start.data).then(({ operationId, runnerId }) => { join(client, held, vmId, operationId, runnerId, deps) }, refuse)
    })

    function refuse(error: unknown): void {
      client.resume()
      if (!(error instanceof DomainError)) deps.onFault(error, 'a command in a microVM could not be asked for')
      sayLast(client, failureOf(error instanceof DomainError ? error : new DomainError('internal', { correlationId: '(see the log)' })))
    }
  }

  function join(client: WebSocket, held: HeldMessages, vmId: string, operationId: string, runnerId: string, deps: RelayDependencies): void {
    let runner: WebSocket | null = null
    let over = false
    /** What the client sent and the process has not taken. */
    let untaken = 0
    const finish = (end: { exitCode: number | null; failure: string | null }, last: object | null): void => {
      if (over) return
      over = true
      clearTimeout(unattached)
      clearInterval(beat)
      streams.delete(operationId)
      deps.end(operationId, end).catch((error: unknown) => { deps.onFault(error, `the end of ${operationId} could not be recorded`) }).finally(() => {
        // Only now: whoever hears of the end finds it recorded.
        client.resume()
        if (last === null) client.close()
        else sayLast(client, last)
      })
      runner?.close()
    }
    const fail = (failure: z.infer<typeof StreamFailure>): void => { finish({ exitCode: null, failure: failure.message }, { type: 'error', error: failure }) }
    const lost = (problem: string): void => { fail(failureOf(new DomainError('vm_operation_failed', { kind: 'exec', id: vmId, problem })).error) }
    const pass = (to: WebSocket, data: RawData | string, isBinary: boolean): void => {
      if (to.bufferedAmount > MOST_BUFFERED_BYTES) return lost('more was sent than was taken')
      to.send(data, { binary: isBinary })
    }
    const unattached = setTimeout(() => { lost('its runner did not take it up') }, ANSWER_MS)
    let answered = true
    client.on('pong', () => { answered = true })
    const beat = setInterval(() => {
      if (!answered) return client.terminate()
      answered = false
      client.ping()
      runner?.ping()
      deps.stillAllowed().then((allowed) => { if (!allowed) lost('the token of the client is no longer valid') }, (error: unknown) => { deps.onFault(error, 'a token could not be looked at') })
    }, BEAT_MS)

    const receive = (to: WebSocket, data: RawData, isBinary: boolean): void => {
      if (over) return
      const valid = isBinary ? isChunk(data, [CHANNEL.stdin]) : StreamFromClient.safeParse(parseJson(String(data))).success
      if (!valid) return lost('the client sent something that is not of this protocol')
      if (isBinary) untaken += lengthOf(data)
      if (untaken > STREAM_WINDOW_BYTES) return lost('more was sent than was taken')
      pass(to, isBinary ? data : String(data), isBinary)
    }
    client.on('close', () => { finish({ exitCode: null, failure: 'the client left' }, null) })
    client.on('error', () => { client.terminate() })
    if (client.readyState !== client.OPEN) return finish({ exitCode: null, failure: 'the client left' }, null)
    client.send(JSON.stringify({ type: 'started', operationId }))

    streams.set(operationId, {
      vmId, runnerId, fail,
      attach(socket) {
        if (runner !== null) return socket.close(STREAM_CLOSE_CODES.protocol, 'it is carried out already')
        runner = socket
        clearTimeout(unattached)
        socket.on('message', (data, isBinary) => {
          if (isBinary) {
            if (!isChunk(data, [CHANNEL.stdout, CHANNEL.stderr])) return lost('the runner sent something that is not of this protocol')
            return pass(client, data, true)
          }
          const message = StreamFromRunner.safeParse(parseJson(String(data)))
          if (!message.success) return lost('the runner sent something that is not of this protocol')
          if (message.data.type === 'exit') return finish({ exitCode: message.data.code, failure: message.data.timedOut ? 'it ran for longer than its limit' : message.data.code === null ? `it was ended by ${message.data.signal ?? 'a signal'}` : null }, message.data)
          if (message.data.type === 'error') return fail(message.data.error)
          untaken = Math.max(0, untaken - message.data.bytes)
          pass(client, String(data), false)
        })
        socket.on('close', () => { lost('the connection to its runner was lost') })
        socket.on('error', () => { socket.terminate() })
        socket.send(JSON.stringify({ type: 'go' }))
        held.deliver((data, isBinary) => { receive(socket, data, isBinary) })
        client.resume()
      },
    })
  }

  return {
    serveClient,
    /** Gives a stream its runner. False: its client is not at this replica. */
    attach(operationId: string, runnerId: string, socket: WebSocket): boolean {
      const stream = streams.get(operationId)
      if (stream?.runnerId !== runnerId) return false
      stream.attach(socket)
      return true
    },
    /** Ends all, since the server stops. */
    close(): void {
      for (const stream of streams.values()) stream.fail(failureOf(new DomainError('vm_operation_failed', { kind: 'exec', id: stream.vmId, problem: 'the server is stopping' })).error)
    },
  }
}

interface HeldMessages { deliver(take: (data: RawData, isBinary: boolean) => void): void }

/** Holds the messages of a client until somebody takes them, in order: a window of them at most. */
function holdMessages(client: WebSocket, onTooMany: () => void): HeldMessages {
  const held: [data: RawData, isBinary: boolean][] = []
  let bytes = 0
  let take = (data: RawData, isBinary: boolean): void => {
    bytes += lengthOf(data) + HELD_MESSAGE_BYTES
    if (bytes <= STREAM_WINDOW_BYTES) return void held.push([data, isBinary])
    take = () => {}
    onTooMany()
  }
  client.on('message', (data, isBinary) => { take(data, isBinary) })
  return {
    deliver(to) {
      take = to
      for (const message of held.splice(0)) to(...message)
    },
  }
}

function failureOf(error: DomainError): { type: 'error'; error: z.infer<typeof StreamFailure> } {
  return { type: 'error', error: { code: error.code, message: error.message, remedy: error.remedy, status: error.status } }
}

function sayLast(socket: WebSocket, message: object): void {
  if (socket.readyState === socket.OPEN) socket.send(JSON.stringify(message))
  socket.close()
}

/** A server's socket gives buffers (the default of ws). */
function lengthOf(data: RawData): number {
  return Buffer.isBuffer(data) ? data.length : 0
}

function isChunk(data: RawData, channels: readonly number[]): boolean {
  return Buffer.isBuffer(data) && data.length >= 1 && data.length <= MAX_CHUNK_BYTES + 1 && channels.includes(data[0] ?? -1)
}
