import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { encodeFrame } from '@swarm/contract/channel.ts'
import { EXEC_TAG, FRAME } from '@swarm/contract/guest-protocol.ts'
import { connectGuest, type GuestConnection } from './guest-connection.ts'

let guest: Socket
let host: GuestConnection
let hostSocket: Socket

/** Both ends of a channel over a real socket, as QEMU makes it; the guest's is left to the test, which may be as hostile as it likes. */
beforeEach(async () => {
  const server = createServer()
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  const address = server.address()
  guest = connect(typeof address === 'object' && address !== null ? address.port : 0, '127.0.0.1')
  ;[hostSocket] = await once(server, 'connection') as [Socket]
  server.close()
  host = connectGuest('VM-1', hostSocket)
  guest.once('data', (hello: Buffer) => { guest.write(hello) })
  await host.hello()
  guest.pause()
  guest.on('error', () => guest.destroy())
})
afterEach(() => {
  host.close()
  guest.destroy()
})

const open = (stream: number) => Buffer.from(encodeFrame(FRAME.OPEN, stream, Buffer.from('{"kind":"forward","listener":"proxy"}')))

test('a guest that does not read what it is sent is not read from either, until it does', async () => {
  // 16 MiB for it, of which the kernel takes some: what waits here grows with each request that such a guest would still make.
  const answers = Array.from({ length: 64 }, () => host.exec({ argv: ['cat'], stdin: Buffer.alloc(256 * 1024) }))
  for (const answer of answers) answer.catch(() => {}) // they end with the channel
  await expect.poll(() => hostSocket.writableLength).toBeGreaterThan(4 * 1024 ** 2)
  guest.write(open(1))
  await expect.poll(() => hostSocket.isPaused()).toBe(true)
  let opened = 0
  host.onForward(() => { opened += 1 })
  guest.write(open(3))
  await new Promise((resolve) => setTimeout(resolve, 200)) // in which it would have arrived
  expect(opened).toBe(0)
  guest.resume()
  await expect.poll(() => opened).toBe(1)
  expect(hostSocket.isPaused()).toBe(false)
})

test('a guest that has sent too much is read again later, and nothing of it is lost', async () => {
  let seen = 0
  host.onForward((stream) => {
    stream.handlers = {
      onData(bytes) {
        seen += bytes.length
        stream.consumed(bytes.length)
      },
    }
  })
  let credit = 256 * 1024
  guest.on('data', () => { credit += 128 * 1024 })
  guest.resume()
  guest.write(open(1))
  let rested = 0
  hostSocket.on('pause', () => { rested += 1 })
  const total = 20_000
  for (let sent = 0; sent < total; sent++) {
    while (credit === 0) await new Promise((resolve) => setImmediate(resolve))
    credit -= 1
    if (!guest.write(encodeFrame(FRAME.DATA, 1, Buffer.from('x')))) await once(guest, 'drain')
  }
  await expect.poll(() => seen, { timeout: 20_000 }).toBe(total)
  expect(rested).toBeGreaterThan(0)
})

test('an exec whose records are larger than any reader of pipes makes them ends the channel', async () => {
  const answer = host.exec({ argv: ['true'] })
  const header = Buffer.alloc(5)
  header.writeUInt8(1, 0)
  header.writeUInt32BE(200 * 1024, 1)
  guest.write(encodeFrame(FRAME.DATA, 2, header))
  await expect(answer).rejects.toMatchObject({ code: 'vm_ended' })
  expect(await host.closed).toEqual({ violation: `an exec record of ${200 * 1024} bytes` })
})

test('small records that come in one frame cost what frames do, are taken together in their order, and keep the order of both streams', async () => {
  const record = (tag: number, text: string) => {
    const head = Buffer.alloc(5)
    head.writeUInt8(tag, 0)
    head.writeUInt32BE(text.length, 1)
    return Buffer.concat([head, Buffer.from(text)])
  }
  const calls: string[] = []
  const keep = (name: string) => (chunk: Uint8Array) => { calls.push(`${name} ${Buffer.from(chunk).toString('latin1')}`) }
  const answer = host.exec({ argv: ['true'], onStdout: keep('out'), onStderr: keep('err') })
  const many = Array.from({ length: 10_000 }, () => record(EXEC_TAG.STDOUT, 'x'))
  let rested = 0
  hostSocket.on('pause', () => { rested += 1 })
  guest.write(encodeFrame(FRAME.DATA, 2, Buffer.concat([record(EXEC_TAG.STDOUT, 'a'), record(EXEC_TAG.STDERR, 'b'), record(EXEC_TAG.STDOUT, 'c'), record(EXEC_TAG.STDOUT, 'd')])))
  guest.write(encodeFrame(FRAME.DATA, 2, Buffer.concat(many)))
  const alternating = Array.from({ length: 10_000 }, (_, at) => record(at % 2 === 0 ? EXEC_TAG.STDOUT : EXEC_TAG.STDERR, 'y'))
  guest.write(encodeFrame(FRAME.DATA, 2, Buffer.concat(alternating)))
  guest.write(encodeFrame(FRAME.DATA, 2, record(EXEC_TAG.EXIT, JSON.stringify({ code: 0, signal: null, timedOut: false, wallMs: 1 }))))
  guest.write(encodeFrame(FRAME.END, 2, Buffer.alloc(0)))
  expect(await answer).toMatchObject({ code: 0, stdout: `acd${'x'.repeat(10_000)}${'y'.repeat(5_000)}`, stderr: `b${'y'.repeat(5_000)}` })
  expect(calls.slice(0, 4)).toEqual(['out a', 'err b', 'out cd', `out ${'x'.repeat(10_000)}`])
  expect(calls.length).toBeLessThan(100)
  expect(rested).toBeGreaterThan(0)
})
