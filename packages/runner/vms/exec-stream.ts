import { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { CHANNEL, MAX_CHUNK_BYTES, STREAM_CLOSE_CODES, STREAM_WINDOW_BYTES, StreamToRunner, type StreamFromRunner, type StreamStart } from '@swarm/contract/vm-operations.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { parseJson } from '@swarm/core/json.ts'
import type { ExecOptions, Vm } from '../drivers/driver.ts'
import { resized, terminalArgv, typed } from './terminal.ts'

/** A replica that does not have the client is asked again, in case there is another behind the same address, for so long, ms. */
const SEARCH_MS = 10_000
const AGAIN_MS = 200

export interface StreamPlace { readonly serverUrl: string; readonly token: string; readonly signal: AbortSignal }

/**
 * Carries out an exec or a shell of a person: what the process reads and writes goes over a WebSocket of its own
 * (contract/vm-operations.ts), as fast as the other side takes it. It ends with that connection.
 * @param vmOf throws when it cannot be done, which the client is told
 */
export async function runExecStream(operation: { readonly id: string; readonly vmId: string; readonly correlationId: string; readonly start: StreamStart }, vmOf: () => Vm, place: StreamPlace): Promise<void> {
  const client = await findClient(operation.id, place)
  if (client === null) return
  const { socket } = client
  const { start } = operation
  const left = new AbortController()
  const stop = (): void => { left.abort(new Error('whoever asked for it has left')) }
  socket.addEventListener('close', stop)
  place.signal.addEventListener('abort', stop, { once: true })
  const tell = (message: StreamFromRunner): void => { socket.send(JSON.stringify(message)) }

  const output = createOutput(socket, left.signal)
  const input = createInput(start.terminal !== null, (bytes) => { tell({ type: 'consumed', bytes }) })
  client.onMessage((data) => {
    if (data instanceof ArrayBuffer) return input.take(Buffer.from(data).subarray(1))
    const message = StreamToRunner.safeParse(parseJson(String(data)))
    if (message.data?.type === 'consumed') output.consumed(message.data.bytes)
    if (message.data?.type === 'resize' && start.terminal !== null) input.resize(message.data)
  })
  try {
    const vm = vmOf()
    const request: ExecOptions = {
      argv: start.terminal === null ? start.argv : terminalArgv(start.terminal, start.argv), cwd: start.cwd ?? vm.workspace, env: start.terminal === null ? {} : { TERM: start.terminal.name },
      stdin: input.readable, timeoutMs: start.timeoutMs, maxOutputBytes: start.maxOutputBytes, keptBytes: 1, correlationId: operation.correlationId, signal: left.signal,
      onStdout: (chunk) => output.write(CHANNEL.stdout, chunk), onStderr: (chunk) => output.write(CHANNEL.stderr, chunk),
    }
    const { code, signal, timedOut, truncated, wallMs } = await vm.exec(request)
    await output.written()
    tell({ type: 'exit', code, signal, timedOut, truncated, wallMs: Math.round(wallMs) })
  } catch (error) {
    if (left.signal.aborted) return
    const known = error instanceof DomainError ? error : new DomainError('vm_operation_failed', { kind: start.kind, id: operation.vmId, problem: error instanceof Error ? error.message : String(error) }, { cause: error })
    tell({ type: 'error', error: { code: known.code, message: known.message, remedy: known.remedy, status: known.status } })
  } finally {
    place.signal.removeEventListener('abort', stop)
    socket.close()
  }
}

/** `onMessage` also gives what came before it was called. */
interface FoundClient { readonly socket: WebSocket; onMessage(handler: (data: unknown) => void): void }

/** The connection to the replica that has the client of an operation; null when none has. */
async function findClient(operationId: string, { serverUrl, token, signal: stopping }: StreamPlace): Promise<FoundClient | null> {
  const signal = AbortSignal.any([stopping, AbortSignal.timeout(SEARCH_MS)])
  while (!signal.aborted) {
    const socket = new WebSocket(`${serverUrl.replace(/^http/, 'ws').replace(/\/+$/, '')}/operations/${encodeURIComponent(operationId)}/stream`, { headers: { authorization: `Bearer ${token}` } })
    socket.binaryType = 'arraybuffer'
    const early: unknown[] = []
    let deliver = (data: unknown): void => { early.push(data) }
    socket.addEventListener('message', ({ data }) => { deliver(data) })
    const answer = await new Promise<'go' | number>((resolve) => {
      socket.addEventListener('message', () => { resolve('go') }, { once: true })
      socket.addEventListener('close', ({ code }) => { resolve(code) }, { once: true })
      socket.addEventListener('error', () => { resolve(0) }, { once: true })
      signal.addEventListener('abort', () => { resolve(0) }, { once: true })
    })
    if (answer !== 'go') socket.close()
    if (answer === 'go') return { socket, onMessage: (handler) => { for (const data of early.splice(0)) handler(data); deliver = handler } }
    if (answer === STREAM_CLOSE_CODES.protocol) return null
    await delay(AGAIN_MS, undefined, { signal }).catch(() => undefined) // it stops, or has searched for long enough
  }
  return null
}

/** What goes to the client: at most a window of it is on its way. */
function createOutput(socket: WebSocket, left: AbortSignal) {
  let underWay = 0
  let wake = (): void => {}
  left.addEventListener('abort', () => { wake() }, { once: true })
  let last = Promise.resolve()
  async function send(channel: number, bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += MAX_CHUNK_BYTES) {
      const chunk = bytes.subarray(at, at + MAX_CHUNK_BYTES)
      while (underWay + chunk.length + 1 > STREAM_WINDOW_BYTES && !left.aborted) await new Promise<void>((resolve) => { wake = resolve })
      if (left.aborted) return
      underWay += chunk.length + 1
      socket.send(Buffer.concat([Buffer.of(channel), chunk]))
    }
  }
  return {
    /** Resolves when it is on its way; in the order of the calls. */
    write: (channel: number, bytes: Uint8Array): Promise<void> => last = last.then(() => send(channel, bytes)),
    consumed(bytes: number): void {
      underWay = Math.max(0, underWay - bytes)
      wake()
    },
    written: (): Promise<void> => last,
  }
}

/** What comes from the client, as the stdin of the process. @param isTerminal its stdin are records */
function createInput(isTerminal: boolean, onConsumed: (bytes: number) => void) {
  /** Taken while the process did not read: told when it reads on. */
  let untold = 0
  /** The newest one that came while it did not: those before it mean nothing any more. */
  let size: { columns: number; rows: number } | null = null
  const readable = new Readable({
    read() {
      const [bytes, newest] = [untold, size]
      untold = 0
      size = null
      if (bytes > 0) onConsumed(bytes)
      if (newest !== null) readable.push(resized(newest))
    },
  })
  readable.on('error', () => {}) // it is destroyed with its exec
  let ended = false
  return {
    readable,
    take(bytes: Buffer): void {
      if (ended) return
      if (bytes.length === 0) {
        ended = true
        readable.push(null)
      } else if (readable.push(isTerminal ? typed(bytes) : bytes)) onConsumed(bytes.length + 1)
      else untold += bytes.length + 1
    },
    resize(newest: { columns: number; rows: number }): void {
      if (ended) return
      if (readable.readableLength >= readable.readableHighWaterMark) size = newest
      else readable.push(resized(newest))
    },
  }
}
