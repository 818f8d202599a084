import { createServer, type Server, type Socket } from 'node:net'
import type { Mux } from '@swarm/contract/channel.ts'
import { GUEST_PROXY_PORT } from '@swarm/contract/guest-protocol.ts'

/** Listens on 127.0.0.1 and carries every connection's bytes to the host; HTTP is parsed there, never here. */
export function listenForForwards(currentMux: () => Mux | null): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const mux = currentMux()
    if (mux === null) socket.destroy()
    else forward(mux, socket)
  })
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(GUEST_PROXY_PORT, '127.0.0.1', () => resolve(server))
  })
}

function forward(mux: Mux, socket: Socket): void {
  const stream = mux.open({ kind: 'forward', listener: 'proxy' }, {
    onData: (bytes) => void socket.write(bytes, () => stream.consumed(bytes.length)),
    onEnd: () => void socket.end(),
    onReset: () => void socket.resetAndDestroy(),
    onDrain: () => void socket.resume(),
  })
  socket.setNoDelay(true)
  socket.on('data', (chunk: Buffer) => {
    if (!stream.write(chunk)) socket.pause()
  })
  socket.on('end', () => stream.end())
  socket.on('error', (error) => stream.reset(error.message))
  // After an orderly end of both sides the stream is over already, and this does nothing.
  socket.on('close', () => stream.reset('the connection was closed'))
}
