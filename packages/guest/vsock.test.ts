import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { createMux } from '@swarm/contract/channel.ts'
import { HELLO_PREFIX } from '@swarm/contract/guest-protocol.ts'

// The bridge and the supervisor's end of the channel as they are in a guest, in mount and pid namespaces of their own. Only the listening
// socket is another one (three lines of the bridge): nothing can connect to a vsock of this machine from within.
const BRIDGE = fileURLToPath(new URL('./init/vsock.pl', import.meta.url))
const SUPERVISED = fileURLToPath(new URL('./testing-channel.ts', import.meta.url))
const isRoot = process.getuid?.() === 0
let folder: string
let guest: ChildProcess | undefined

beforeAll(async () => {
  if (!isRoot) return
  folder = mkdtempSync(join(tmpdir(), 'swarm-vsock-test-'))
  const socket = join(folder, 'socket')
  const bridge = readFileSync(BRIDGE, 'utf8')
    .replace(/^socket\(my \$listener.*$/m, 'use Socket; socket(my $listener, AF_UNIX, SOCK_STREAM, 0) or die;')
    .replace(/^bind\(\$listener.*$/m, `bind($listener, pack_sockaddr_un('${socket}')) or die;`).replace(/^ +next unless \$cid == 2;$/m, '')
  expect(bridge.match(/AF_UNIX|pack_sockaddr_un|\$cid == 2/g)).toEqual(['AF_UNIX', 'pack_sockaddr_un'])
  writeFileSync(join(folder, 'vsock.pl'), bridge)
  const script = 'for place in /run /opt /dev; do mount -t tmpfs swarm-test $place; done && mknod /dev/null c 1 3 && mknod /dev/urandom c 1 9 && touch /dev/vsock && mkdir /opt/swarm && cp "$0/vsock.pl" /opt/swarm/ && mkfifo /run/swarm-channel-in /run/swarm-channel-out && exec "$1" "$2"'
  guest = spawn('unshare', ['--mount', '--pid', '--fork', '--mount-proc', '--kill-child=KILL', 'sh', '-c', script, folder, process.execPath, SUPERVISED], { stdio: ['ignore', 'inherit', 'inherit'] })
  await vi.waitFor(() => { expect(existsSync(socket)).toBe(true) }, { timeout: 20_000 })
})
afterAll(() => {
  guest?.kill('SIGKILL')
  if (isRoot) rmSync(folder, { recursive: true, force: true })
})

/** Connects, says hello, and sends `bytes` on each of `streams` at once. @returns how many came back on each */
async function exchange(streams: number, bytes: number): Promise<number[]> {
  const socket: Socket = connect(join(folder, 'socket'))
  const hello = `${HELLO_PREFIX} ${randomBytes(16).toString('hex')}\n`
  const mux = createMux({ side: 'host', send: (frame) => void socket.write(frame), onOpen() {}, onFailure: (reason) => { socket.destroy(new Error(reason)) } })
  const lost = new Promise<never>((_resolve, reject) => { socket.on('error', reject).once('close', () => reject(new Error('the connection was closed'))) })
  lost.catch(() => {}) // it is raced below; the last close is ours
  const greeted = new Promise<void>((resolve) => {
    let seen = Buffer.alloc(0)
    const onData = (chunk: Buffer) => {
      seen = Buffer.concat([seen, chunk])
      const at = seen.indexOf(hello)
      if (at < 0) return
      socket.off('data', onData).on('data', (frames: Buffer) => { mux.receive(frames) })
      mux.receive(seen.subarray(at + hello.length))
      resolve()
    }
    socket.on('data', onData).write(hello)
  })
  await Promise.race([greeted, lost])
  const answers = Array.from({ length: streams }, () => new Promise<number>((resolve) => {
    let came = 0
    const stream = mux.open({ kind: 'exec', argv: ['count'], cwd: '/', env: {} }, {
      onData(chunk) {
        came += chunk.length
        stream.consumed(chunk.length)
      },
      onEnd: () => resolve(came),
    })
    stream.write(Buffer.alloc(bytes, 'y'))
    stream.end()
  }))
  const result = await Promise.race([Promise.all(answers), lost])
  socket.destroy()
  return result
}

test.skipIf(!isRoot)('the bridge of a vsock carries a channel both ways at once, and takes the next host when one has gone (needs root)', async () => {
  expect(await exchange(4, 3_000_000)).toEqual([3_000_000, 3_000_000, 3_000_000, 3_000_000])
  // One that goes without a word, and one that goes in the middle of its hello.
  for (const words of ['', 'SWARM-HEL']) await new Promise<void>((resolve) => { connect(join(folder, 'socket'), function (this: Socket) { this.end(words) }).resume().once('close', () => resolve()) })
  expect(await exchange(1, 10)).toEqual([10])
})
