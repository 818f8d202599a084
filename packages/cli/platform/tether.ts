import '../../../bin/compile-cache.mjs'
import { Socket } from 'node:net'
import { isMainThread } from 'node:worker_threads'

/*
 * Loaded before the program of every process that the platform starts (`node --import …/tether.ts program`). Descriptor 3 is
 * one end of a socket whose other end only the parent has: the kernel closes that one when the parent ends, however it ends,
 * kill -9 included. Then this process stops as by SIGTERM, and for good if that takes too long.
 */

/** Time for an orderly end without the parent, ms. */
const ORDERLY_END_MS = 10_000

if (isMainThread) {
  const tether = new Socket({ fd: 3, readable: true, writable: false })
  tether.on('error', () => { tether.destroy() })
  tether.once('close', () => {
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), ORDERLY_END_MS).unref()
    process.kill(process.pid, 'SIGTERM')
  })
  tether.resume()
  tether.unref()
}
