import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { encodeFrame } from '@swarm/contract/channel.ts'
import { FRAME } from '@swarm/contract/guest-protocol.ts'
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

test('a guest that opens streams without end and never reads is not read from any more, and what waits for it stays small', async () => {
  let stream = -1
  const many = () => Buffer.concat(Array.from({ length: 2_000 }, () => open(stream += 2)))
  // Each is refused with a frame that this guest never takes; the kernel's buffers on the way hold some megabytes.
  for (let sent = 0; sent < 3_000 && guest.write(many()); sent++) await new Promise((resolve) => setImmediate(resolve))
  await expect.poll(() => hostSocket.isPaused()).toBe(true)
  expect(hostSocket.writableLength).toBeLessThan(8 * 1024 ** 2)
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
