import { CHANNEL, MAX_CHUNK_BYTES, STREAM_WINDOW_BYTES, StreamToClient, type StreamFromRunner, type StreamStart } from '@swarm/contract/vm-operations.ts'
import { ApiError, ErrorBody } from '@swarm/contract/errors.ts'
import { parseJson } from '@swarm/core/json.ts'
import { UserError } from '../errors.ts'
import { EXIT } from '../exit-codes.ts'

export type StreamExit = Extract<StreamFromRunner, { type: 'exit' }> & { readonly operationId: string }

export interface StreamOptions {
  readonly url: string
  readonly token: string
  readonly vmId: string
  readonly start: StreamStart
  /** What the process reads; null: nothing. */
  readonly stdin: NodeJS.ReadStream | null
  /** Typed at a terminal, it leaves. */
  readonly escape?: number
  /** Resolves when the bytes were taken. */
  onOutput(channel: 'stdout' | 'stderr', bytes: Buffer): Promise<void>
  onStarted?(resize: (size: { columns: number; rows: number }) => void): void
  readonly signal: AbortSignal
}

/**
 * Runs a command in a microVM over the server (contract/vm-operations.ts) to its end. Leaving ends it.
 * @throws ApiError as the server refused it, UserError when the connection is lost, the signal's reason
 */
export async function streamFromVm(options: StreamOptions): Promise<StreamExit> {
  const { signal, stdin } = options
  signal.throwIfAborted()
  const address = `${options.url}/api/vms/${encodeURIComponent(options.vmId)}/exec`
  const headers = { authorization: `Bearer ${options.token}` }
  const socket = new WebSocket(address.replace(/^http/, 'ws'), { headers })
  socket.binaryType = 'arraybuffer'
  const end = Promise.withResolvers<StreamExit>()
  const send = (message: object): void => { if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message)) }
  const onAbort = (): void => { end.reject(signal.reason) }
  signal.addEventListener('abort', onAbort, { once: true })
  let operationId = ''
  let underWay = 0

  const input = (bytes: Buffer): void => {
    if (options.escape !== undefined && bytes.length === 1 && bytes[0] === options.escape) return end.reject(new UserError('left', `Left microVM ${options.vmId}.`, 'What ran there was ended.', EXIT.failed))
    for (let at = 0; at < bytes.length; at += MAX_CHUNK_BYTES) {
      const chunk = bytes.subarray(at, at + MAX_CHUNK_BYTES)
      underWay += chunk.length + 1
      socket.send(Buffer.concat([Buffer.of(CHANNEL.stdin), chunk]))
    }
    // One piece of stdin is 64 KiB at most.
    if (underWay > STREAM_WINDOW_BYTES / 2) stdin?.pause()
  }
  const inputEnd = (): void => { if (socket.readyState === WebSocket.OPEN) socket.send(Buffer.of(CHANNEL.stdin)) }

  let opened = false
  socket.addEventListener('open', () => {
    opened = true
    send(options.start)
  })
  socket.addEventListener('error', () => {
    const failed = new UserError('connection_failed', `The server at ${options.url} did not take the connection.`, 'Look at "swarm status", and whether this token is still valid.', EXIT.platform)
    refusalOf(address, headers, signal).then((refusal) => { end.reject(refusal ?? failed) }, () => { end.reject(failed) })
  })
  socket.addEventListener('close', ({ code, reason }) => {
    // Never opened: the error says why.
    if (code === 1006 && !opened) return
    end.reject(new UserError('connection_lost', `The connection to the server was closed (${code}${reason === '' ? '' : `: ${reason}`}).`, 'What ran in the microVM was ended; run it again.', EXIT.platform))
  })
  let shown = Promise.resolve()
  socket.addEventListener('message', ({ data }) => {
    if (data instanceof ArrayBuffer) {
      const bytes = Buffer.from(data)
      shown = shown.then(() => options.onOutput(bytes[0] === CHANNEL.stderr ? 'stderr' : 'stdout', bytes.subarray(1))).then(() => { send({ type: 'consumed', bytes: bytes.length }) })
      shown.catch((error: unknown) => { end.reject(error) })
      return
    }
    const message = StreamToClient.safeParse(parseJson(String(data))).data
    if (message?.type === 'started') {
      operationId = message.operationId
      if (stdin === null) inputEnd()
      else stdin.on('data', input).once('end', inputEnd)
      options.onStarted?.((size) => { send({ type: 'resize', ...size }) })
    } else if (message?.type === 'consumed') {
      underWay = Math.max(0, underWay - message.bytes)
      if (underWay <= STREAM_WINDOW_BYTES / 2) stdin?.resume()
    } else if (message?.type === 'error') end.reject(new ApiError(message.error.status, { ...message.error, details: {}, correlationId: '' }))
    else if (message?.type === 'exit') shown.then(() => { end.resolve({ ...message, operationId }) }, () => undefined)
  })
  try {
    return await end.promise
  } finally {
    signal.removeEventListener('abort', onAbort)
    stdin?.off('data', input).off('end', inputEnd).pause()
    socket.close()
  }
}

/** Why the server takes no connection, as it says to a plain request; null when it gives no reason. */
async function refusalOf(address: string, headers: Record<string, string>, signal: AbortSignal): Promise<ApiError | null> {
  const response = await fetch(address, { headers, signal })
  const said = ErrorBody.safeParse(parseJson(await response.text())).data
  return said === undefined || response.status < 400 || said.error.code === 'route_not_found' ? null : new ApiError(response.status, said.error)
}
