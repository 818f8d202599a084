import type { Duplex } from 'node:stream'

/*
 * How much of one guest the runner listens to. A guest cannot be kept from sending garbage, very many frames or more than anybody
 * reads; but it can be left to wait: its channel is not read for a while, the kernel's buffers fill, and its own write blocks. So a
 * flood costs the guest, and of the runner a bounded part of one core.
 */

/** Sustained, bytes a second: three times what a guest can send under emulation (22 MB/s measured). */
const BYTES_PER_SECOND = 64 * 1024 ** 2
/** At once. */
const BURST_BYTES = 16 * 1024 ** 2
/** What a frame counts besides its bytes: so at most 16,000 a second. On a 2-core host the cheapest takes 0.7 µs, one that opens a stream 19 µs: a third of a core at worst. */
const FRAME_BYTES = 4 * 1024
/** Bytes that wait for a guest which does not read: above this much it is not read from either, or its requests alone would fill the memory. */
const UNREAD_BYTES = 4 * 1024 ** 2

/** @returns to be called with what was received: bytes, and the frames that were in them */
export function throttle(socket: Duplex): (bytes: number, frames: number) => void {
  let [left, atMs] = [BURST_BYTES, performance.now()]
  let resting: NodeJS.Timeout | undefined
  let unread = false
  const go = () => {
    if (resting === undefined && !unread && !socket.destroyed) socket.resume()
  }
  socket.on('drain', () => {
    unread = false
    go()
  })
  socket.once('close', () => clearTimeout(resting))
  return (bytes, frames) => {
    const now = performance.now()
    left = Math.min(BURST_BYTES, left + ((now - atMs) / 1_000) * BYTES_PER_SECOND) - bytes - frames * FRAME_BYTES
    atMs = now
    if (socket.writableLength > UNREAD_BYTES) unread = true
    if (left < 0) {
      resting ??= setTimeout(() => {
        resting = undefined
        go()
      }, (-left / BYTES_PER_SECOND) * 1_000)
    }
    if (resting !== undefined || unread) socket.pause()
  }
}
