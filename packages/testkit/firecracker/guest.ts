import type { Socket } from 'node:net'
import { createMux, type MuxStream } from '@swarm/contract/channel.ts'
import { EXEC_TAG, HELLO_PREFIX, READY_LINE, type ExecHeader } from '@swarm/contract/guest-protocol.ts'
import type { Fault } from './plan.ts'

/*
 * The supervisor's side of a channel (packages/contract/guest-protocol.ts), without a guest: it acknowledges what it is asked for, and
 * "runs" a command by saying its arguments. `sleep` goes on until it is reset, `forward TEXT` sends that to the host's proxy.
 */

const HELLO = new RegExp(`${HELLO_PREFIX} [0-9a-f]{32}\\n`)

let connections = 0

export function serveGuest(socket: Socket, fault: (at: string) => Fault | undefined): void {
  let seen = Buffer.alloc(0)
  let prepared = false
  const mux = createMux({
    side: 'guest',
    send: (frame) => void socket.write(frame),
    onOpen(stream) {
      const { header } = stream
      if (header.kind === 'prepare') prepare(stream, header.mountScratch)
      else if (header.kind === 'ping') stream.end()
      else if (header.kind === 'clock' && prepared) moveClock(stream)
      else if (header.kind === 'exec' && prepared) exec(stream, header)
      else stream.reset(prepared ? 'the guest does not open such streams' : 'not prepared yet')
    },
    onFailure: () => socket.destroy(),
  })

  function prepare(stream: MuxStream, mountScratch: boolean): void {
    const planned = fault('prepare')
    if (planned !== undefined) return stream.reset('the scratch disk cannot be mounted')
    prepared = true
    stream.write(Buffer.from(JSON.stringify({ done: ['clock', 'reseed', 'machine_id', 'hostname', ...(mountScratch ? ['scratch'] : [])], guestNowMs: Date.now() })))
    stream.end()
  }

  /** Its clock is the host's, so there is nothing to move. */
  function moveClock(stream: MuxStream): void {
    stream.write(Buffer.from(JSON.stringify({ guestNowMs: Date.now() })))
    stream.end()
  }

  function exec(stream: MuxStream, { argv }: ExecHeader): void {
    const record = (tag: number, text: string) => {
      const bytes = Buffer.from(text)
      const head = Buffer.alloc(5)
      head.writeUInt8(tag, 0)
      head.writeUInt32BE(bytes.length, 1)
      stream.write(Buffer.concat([head, bytes]))
    }
    const exit = (stdout: string) => {
      record(EXEC_TAG.STDOUT, stdout)
      record(EXEC_TAG.EXIT, JSON.stringify({ code: 0, signal: null, timedOut: false, wallMs: 1 }))
      stream.end()
    }
    if (argv[0] === 'sleep') return record(EXEC_TAG.STDOUT, 'begun\n')
    if (argv[0] === 'garbage') return void socket.write(Buffer.alloc(64, 0xff))
    if (argv[0] !== 'forward') return exit(`${argv.join(' ')}\n`)
    let answer = ''
    const forward = mux.open({ kind: 'forward', listener: 'proxy' }, {
      onData: (bytes) => { answer += Buffer.from(bytes).toString('utf8') },
      onEnd: () => exit(answer),
      onReset: (reason) => exit(`reset: ${reason}`),
    })
    forward.write(Buffer.from(argv[1] ?? ''))
    forward.end()
  }

  socket.write(READY_LINE)
  let greeted = false
  socket.on('data', (bytes: Buffer) => {
    if (greeted) return mux.receive(bytes)
    seen = Buffer.concat([seen, bytes])
    const hello = HELLO.exec(seen.toString('latin1'))
    if (hello === null) return
    const planned = fault('hello')
    if (planned?.how === 'die') process.exit(1)
    connections += 1
    if (planned !== undefined && (planned.how !== 'drop-first' || connections === 1)) return void socket.destroy()
    greeted = true
    socket.write(hello[0])
    mux.receive(seen.subarray(hello.index + hello[0].length))
  })
  socket.on('error', () => socket.destroy())
}
