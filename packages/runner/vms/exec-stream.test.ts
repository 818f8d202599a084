import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { WebSocketServer, type WebSocket } from 'ws'
import type { StreamStart } from '@swarm/contract/vm-operations.ts'
import type { ExecOptions, Vm } from '../drivers/driver.ts'
import { runExecStream } from './exec-stream.ts'

let server: WebSocketServer
let stopping: AbortController

/** The server's end of the stream is left to the test. */
beforeEach(async () => {
  server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  await once(server, 'listening')
  stopping = new AbortController()
})
afterEach(() => {
  stopping.abort()
  for (const socket of server.clients) socket.terminate()
  server.close()
})

const start: StreamStart = { type: 'start', kind: 'shell', argv: ['sh'], timeoutMs: 1_000, maxOutputBytes: 1_000, terminal: { columns: 80, rows: 24, name: 'xterm' } }
function begin(vmOf: () => Vm): Promise<void> {
  const { port } = server.address() as AddressInfo
  return runExecStream({ id: 'OPN-1', vmId: 'VM-1', correlationId: 'c', start }, vmOf, { serverUrl: `http://127.0.0.1:${port}`, token: 't', signal: stopping.signal })
}

test('a runner that stops waits no longer for a server that says nothing, and leaves no connection open', async () => {
  const connected = once(server, 'connection') as Promise<[WebSocket]>
  const ended = begin(() => { throw new Error('nothing was asked for') })
  const [socket] = await connected
  const closed = once(socket, 'close')
  stopping.abort()
  await ended
  await closed
})

test('of the sizes that a terminal is given while its process reads nothing, only the newest waits', async () => {
  const asked = Promise.withResolvers<ExecOptions>()
  const over = Promise.withResolvers<never>()
  const connected = once(server, 'connection') as Promise<[WebSocket]>
  const ended = begin(() => ({ workspace: '/', exec: (options: ExecOptions) => { asked.resolve(options); return over.promise } }) as unknown as Vm)
  const [socket] = await connected
  let consumed = 0
  socket.on('message', (data, isBinary) => { if (!isBinary) consumed += (JSON.parse(String(data)) as { bytes: number }).bytes })
  socket.send(JSON.stringify({ type: 'go' }))
  const { stdin } = await asked.promise
  if (!(typeof stdin === 'object' && 'readableLength' in stdin)) throw new Error('its stdin is no stream')
  // As much as a stream takes before it says that nobody reads.
  const chunks = Math.ceil(stdin.readableHighWaterMark / 32_768)
  for (let sent = 0; sent < chunks; sent += 1) socket.send(Buffer.alloc(32_769))
  for (let columns = 1; columns <= 1_000; columns += 1) socket.send(JSON.stringify({ type: 'resize', columns, rows: 50 }))
  socket.send(Buffer.concat([Buffer.of(0), Buffer.from('x')]))
  await expect.poll(() => stdin.readableLength).toBe(chunks * (32_768 + 5) + 6)
  const read: Buffer[] = []
  stdin.on('data', (chunk: Buffer) => { read.push(chunk) })
  const size = Buffer.from([1, 0, 0, 0, 4, 1_000 >> 8, 1_000 & 0xff, 0, 50])
  await expect.poll(() => Buffer.concat(read).subarray(-size.length)).toEqual(size)
  expect(Buffer.concat(read)).toHaveLength(chunks * (32_768 + 5) + 6 + size.length)
  await expect.poll(() => consumed).toBe(chunks * 32_769 + 2)
  socket.close()
  over.reject(new Error('it was ended'))
  await ended
})
