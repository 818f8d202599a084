import { openSync, read, readdirSync, readFileSync, readSync, write, writeSync } from 'node:fs'
import { createMux, type Mux, type MuxStream } from '@swarm/contract/channel.ts'
import { CHANNEL_PORT_NAME, HELLO_PREFIX, READY_LINE } from '@swarm/contract/guest-protocol.ts'

const HELLO_LINE = new RegExp(`${HELLO_PREFIX} [0-9a-f]{32}\\n`)

/** Opens the virtio-serial port of the channel. @returns its descriptor, in blocking mode */
export function openChannelPort(): number {
  for (const port of readdirSync('/sys/class/virtio-ports')) {
    if (readFileSync(`/sys/class/virtio-ports/${port}/name`, 'utf8').trim() === CHANNEL_PORT_NAME) return openSync(`/dev/${port}`, 'r+')
  }
  throw new Error(`there is no virtio-serial port named ${CHANNEL_PORT_NAME}`)
}

/**
 * Blocks the whole process until a host has said hello. The write waits in the kernel while nobody is connected: that is the
 * state in which a template is saved, and it costs no CPU (a poll every 5 ms cost 24 % of a core under emulation).
 * @returns what came right behind the hello
 */
export function waitForHost(fd: number): Buffer {
  const chunk = Buffer.alloc(64 * 1024)
  for (;;) {
    writeSync(fd, READY_LINE)
    let seen = Buffer.alloc(0)
    for (;;) {
      const length = readSync(fd, chunk, 0, chunk.length, null)
      if (length === 0) break // the host has gone again
      seen = Buffer.concat([seen, chunk.subarray(0, length)])
      const hello = HELLO_LINE.exec(seen.toString('latin1'))
      if (hello === null) continue
      writeSync(fd, hello[0])
      return seen.subarray(hello.index + hello[0].length)
    }
  }
}

/**
 * Speaks frames until the host is gone or breaks the protocol.
 * Node's sockets refuse a virtio-serial port, so reads and writes go through the thread pool, one of each at a time.
 */
export async function serveChannel(fd: number, behindHello: Buffer, onMux: (mux: Mux) => void, onOpen: (stream: MuxStream) => void): Promise<void> {
  let queue: Uint8Array[] = []
  let writing: Promise<void> | null = null
  const pump = async () => {
    while (queue.length > 0) {
      const bytes = queue.length === 1 ? (queue[0] as Uint8Array) : Buffer.concat(queue)
      queue = []
      for (let at = 0; at < bytes.length;) at += await writeSome(fd, bytes, at)
    }
    writing = null
  }
  const mux = createMux({
    side: 'guest', onOpen,
    send(frame) {
      queue.push(frame)
      writing ??= Promise.resolve().then(pump)
    },
    onFailure: (reason) => process.stderr.write(`channel: ${reason}\n`),
  })
  onMux(mux)
  if (behindHello.length > 0) mux.receive(behindHello)
  while (mux.failed === null) {
    const bytes = await readSome(fd)
    if (bytes.length === 0) break
    mux.receive(bytes)
  }
  mux.fail('the host has gone')
  await writing
}

function readSome(fd: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(64 * 1024)
  return new Promise((resolve, reject) => {
    read(fd, buffer, 0, buffer.length, null, (error, length) => (error ? reject(error) : resolve(buffer.subarray(0, length))))
  })
}

function writeSome(fd: number, bytes: Uint8Array, at: number): Promise<number> {
  return new Promise((resolve, reject) => {
    write(fd, bytes, at, bytes.length - at, null, (error, length) => (error ? reject(error) : resolve(length)))
  })
}

