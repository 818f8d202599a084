import { Duplex } from 'node:stream'
import type { MuxStream } from '@swarm/contract/channel.ts'

/** A mux stream as a Duplex, for `http.Server.emit('connection', …)`. Back-pressure goes through in both directions. */
export function forwardDuplex(stream: MuxStream, onBytesFromGuest: (bytes: number) => void): Duplex {
  let drained: (() => void) | null = null
  /** Bytes that were pushed while the reader was full: their credit is given when it reads on. */
  let unread = 0
  const duplex = new Duplex({
    allowHalfOpen: true,
    read() {
      const bytes = unread
      unread = 0
      if (bytes > 0) stream.consumed(bytes)
    },
    write(chunk: Buffer, _encoding, callback) {
      if (stream.write(chunk)) callback()
      else drained = () => callback()
    },
    final(callback) {
      stream.end()
      callback()
    },
    destroy(error, callback) {
      // Does nothing when both sides have ended in order.
      stream.reset(error?.message ?? 'the host has closed the connection')
      callback(error)
    },
  })
  stream.handlers = {
    onData(bytes) {
      onBytesFromGuest(bytes.length)
      if (duplex.push(bytes)) stream.consumed(bytes.length)
      else unread += bytes.length
    },
    onEnd: () => void duplex.push(null),
    onReset: (reason) => void duplex.destroy(new Error(`reset by the guest: ${reason}`)),
    onDrain() {
      const done = drained
      drained = null
      done?.()
    },
  }
  // A peer that goes away is no fault of the process: whoever uses the stream hears 'close'.
  duplex.on('error', () => duplex.destroy())
  return duplex
}
