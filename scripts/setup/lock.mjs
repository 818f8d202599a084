import { createHash } from 'node:crypto'
import { rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * Lets one set-up per checkout run at a time. The lock is a listening local socket: the kernel frees it when its holder ends,
 * however it ends, so there is no stale lock to recognise; a waiter stays connected and wakes when the holder is gone.
 * @param {string} root the checkout
 * @param {() => void} onWait called once when another set-up holds the lock
 * @returns {Promise<() => Promise<void>>} lets go of it
 */
export async function lockCheckout(root, onWait) {
  const name = `swarm-setup-${createHash('sha256').update(root).digest('hex').slice(0, 16)}`
  // Linux has sockets without a file; elsewhere a file is left by a holder that was killed, and is removed when nobody answers on it.
  const abstract = process.platform === 'linux'
  const address = abstract ? `\0${name}` : join(tmpdir(), `${name}.sock`)
  let waited = false
  for (;;) {
    const release = await tryListen(address)
    if (release) return release
    if (!waited) onWait()
    waited = true
    const answered = await waitForHolder(address)
    if (!answered && !abstract) rmSync(address, { force: true })
  }
}

function tryListen(address) {
  return new Promise((resolve, reject) => {
    const waiters = new Set()
    const server = net.createServer((socket) => {
      waiters.add(socket)
      socket.on('close', () => waiters.delete(socket)).on('error', () => waiters.delete(socket))
    })
    const release = () =>
      new Promise((done) => {
        server.close(() => done())
        for (const socket of waiters) socket.destroy()
      })
    server.once('error', (error) => (error.code === 'EADDRINUSE' ? resolve(undefined) : reject(error)))
    server.listen(address, () => {
      server.unref()
      resolve(release)
    })
  })
}

/** Resolves when the holder has gone: true when it had answered. */
function waitForHolder(address) {
  return new Promise((resolve) => {
    let answered = false
    const socket = net.connect(address, () => (answered = true))
    socket.on('error', () => undefined).on('close', () => resolve(answered))
    socket.resume()
  })
}
