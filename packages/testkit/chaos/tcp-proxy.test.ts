import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts'

let echo: Server
let proxy: TcpProxy
beforeEach(async () => {
  echo = createServer((socket) => {
    socket.on('error', () => { socket.destroy() })
    socket.pipe(socket)
  }).listen(0, '127.0.0.1')
  await once(echo, 'listening')
  proxy = await startTcpProxy({ port: (echo.address() as AddressInfo).port })
})
afterEach(async () => {
  await proxy[Symbol.asyncDispose]()
  echo.close()
})

async function dial(): Promise<Socket> {
  const socket = connect(proxy.port, '127.0.0.1')
  await once(socket, 'connect')
  return socket
}

async function say(socket: Socket, text: string): Promise<string> {
  const heard = once(socket, 'data')
  socket.write(text)
  return String((await heard)[0])
}

test('in fair weather bytes and ends pass both ways, megabytes too', async () => {
  const socket = await dial()
  const sent = Buffer.alloc(3 * 1024 ** 2, 'x')
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  socket.end(sent)
  await once(socket, 'end')
  expect(Buffer.concat(chunks).equals(sent)).toBe(true)
  expect(proxy.counts).toMatchObject({ accepted: 1, cut: 0, delayed: 0, held: 0, refused: 0 })
})

test('a cut resets the open connections on both sides, and counts none when there is none', async () => {
  expect(proxy.cut()).toBe(0)
  const accepted = once(echo, 'connection') as Promise<[Socket]>
  const socket = await dial()
  const [far] = await accepted
  expect(await say(socket, 'hello')).toBe('hello')
  const [failed, closed] = [once(socket, 'error'), new Promise((resolve) => { far.once('close', resolve) })]
  expect(proxy.cut()).toBe(1)
  const [error] = await failed as [NodeJS.ErrnoException]
  await closed
  expect(error.code).toBe('ECONNRESET')
  expect(proxy.counts.cut).toBe(1)
  expect(await say(await dial(), 'again')).toBe('again')
})

test('a stall holds bytes and ends back without telling either side, and lets them go in order', async () => {
  const socket = await dial()
  expect(await say(socket, 'before')).toBe('before')
  proxy.set({ kind: 'stall' })
  const heard: string[] = []
  socket.on('data', (chunk) => heard.push(String(chunk)))
  socket.write('held')
  while (proxy.counts.held === 0) await new Promise((resolve) => { setImmediate(resolve) })
  expect(heard).toEqual([])
  expect(socket.closed).toBe(false)
  socket.end(' back')
  proxy.set({ kind: 'fair' })
  await once(socket, 'end')
  expect(heard.join('')).toBe('held back')
})

test('a delay lets every piece arrive later', async () => {
  const socket = await dial()
  proxy.set({ kind: 'delay', ms: 60 })
  const startedAt = performance.now()
  expect(await say(socket, 'late')).toBe('late')
  expect(performance.now() - startedAt).toBeGreaterThanOrEqual(100)
  expect(proxy.counts.delayed).toBe(2)
})

test('refused connections are reset, open ones go on', async () => {
  const socket = await dial()
  expect(await say(socket, 'one')).toBe('one')
  proxy.set({ kind: 'refuse' })
  const refused = connect(proxy.port, '127.0.0.1')
  expect((await once(refused, 'error') as [NodeJS.ErrnoException])[0].code).toBe('ECONNRESET')
  expect(proxy.counts.refused).toBe(1)
  expect(await say(socket, 'two')).toBe('two')
})

test('a target that is not there resets the client', async () => {
  echo.close()
  const socket = connect(proxy.port, '127.0.0.1')
  socket.on('error', () => undefined)
  await once(socket, 'close')
  expect(proxy.open()).toBe(0)
})
