import { spawn } from 'node:child_process'
import { closeSync, existsSync, openSync, read, readdirSync, readFileSync, readSync, write, writeSync } from 'node:fs'
import { createMux, type Mux, type MuxStream } from '@swarm/contract/channel.ts'
import { CHANNEL_PORT_NAME, CHANNEL_VSOCK_PORT, HELLO_PREFIX, READY_LINE } from '@swarm/contract/guest-protocol.ts'

const HELLO_LINE = new RegExp(`${HELLO_PREFIX} [0-9a-f]{32}\\n`)
const VIRTIO_PORTS = '/sys/class/virtio-ports'
/** Made by init/init.sh where there is a vsock; init/vsock.pl is at their other ends. */
const VSOCK_PIPES = { toGuest: '/run/swarm-channel-in', fromGuest: '/run/swarm-channel-out' }

/** Descriptors in blocking mode. */
export interface ChannelFiles { readonly input: number; readonly output: number }

/** Where hosts come from. */
export interface ChannelPort {
  /** May block until a host is there. */
  open(): ChannelFiles
  /** After the end of what `open` gave. */
  close(files: ChannelFiles): void
}

/** The virtio-serial port of the channel, or the vsock where the VMM has no such port. */
export function openChannelPort(): ChannelPort {
  const name = (existsSync(VIRTIO_PORTS) ? readdirSync(VIRTIO_PORTS) : []).find((port) => readFileSync(`${VIRTIO_PORTS}/${port}/name`, 'utf8').trim() === CHANNEL_PORT_NAME)
  if (name !== undefined) {
    const fd = openSync(`/dev/${name}`, 'r+')
    // One for all: a virtio-serial port knows no connections.
    return { open: () => ({ input: fd, output: fd }), close: () => {} }
  }
  if (!existsSync('/dev/vsock')) throw new Error(`there is neither a virtio-serial port named ${CHANNEL_PORT_NAME} nor a vsock`)
  const bridge = spawn('/usr/bin/perl', ['/opt/swarm/vsock.pl', String(CHANNEL_VSOCK_PORT), VSOCK_PIPES.toGuest, VSOCK_PIPES.fromGuest], { stdio: ['ignore', 'ignore', 'inherit'] })
  bridge.on('exit', (code) => { process.stderr.write(`channel: the bridge of the vsock has ended with ${code}\n`) })
  return {
    // Each waits in the kernel for the other end, which the bridge opens when a host has connected.
    open() {
      const input = openSync(VSOCK_PIPES.toGuest, 'r')
      return { input, output: openSync(VSOCK_PIPES.fromGuest, 'w') }
    },
    close({ input, output }) {
      closeSync(input)
      closeSync(output)
    },
  }
}

/**
 * Blocks the whole process until a host has said hello. The write of the ready line (virtio-serial), or the opening before it
 * (vsock), waits in the kernel while nobody is connected: that is the state in which a template is saved, and it costs no CPU
 * (a poll every 5 ms cost 24 % of a core under emulation).
 * @returns the channel, and what came right behind the hello
 */
export function waitForHost(port: ChannelPort): { files: ChannelFiles; behindHello: Buffer } {
  const chunk = Buffer.alloc(64 * 1024)
  for (;;) {
    const files = port.open()
    writeSync(files.output, READY_LINE)
    let seen = Buffer.alloc(0)
    for (;;) {
      const length = readSync(files.input, chunk, 0, chunk.length, null)
      if (length === 0) break // the host has gone again
      seen = Buffer.concat([seen, chunk.subarray(0, length)])
      const hello = HELLO_LINE.exec(seen.toString('latin1'))
      if (hello === null) continue
      writeSync(files.output, hello[0])
      return { files, behindHello: seen.subarray(hello.index + hello[0].length) }
    }
    port.close(files)
  }
}

/**
 * Speaks frames until the host is gone or breaks the protocol.
 * Node's sockets refuse a virtio-serial port, so reads and writes go through the thread pool, one of each at a time.
 */
export async function serveChannel({ input, output }: ChannelFiles, behindHello: Buffer, onMux: (mux: Mux) => void, onOpen: (stream: MuxStream) => void): Promise<void> {
  let queue: Uint8Array[] = []
  let writing: Promise<void> | null = null
  const pump = async () => {
    while (queue.length > 0) {
      const bytes = queue.length === 1 ? (queue[0] as Uint8Array) : Buffer.concat(queue)
      queue = []
      for (let at = 0; at < bytes.length;) at += await writeSome(output, bytes, at)
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
    const bytes = await readSome(input)
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

