import type { Socket } from 'node:net'
import { createInterface } from 'node:readline'

/** QEMU's control socket (https://www.qemu.org/docs/master/interop/qmp-spec.html). */
export interface Qmp extends Disposable {
  /** @throws Error with QEMU's own words */
  command(execute: string, args?: Record<string, unknown>): Promise<unknown>
  /** The next event of that name. Ask before the command that causes it. */
  event(name: string, accepts?: (data: Record<string, unknown>) => boolean): Promise<Record<string, unknown>>
}

interface Message { QMP?: unknown; return?: unknown; error?: { desc: string }; event?: string; data?: Record<string, unknown> }
interface Waiting { resolve(value: unknown): void; reject(error: Error): void }

/** Speaks QMP over a connection that QEMU has made to us. */
export async function attachQmp(socket: Socket): Promise<Qmp> {
  const commands: Waiting[] = []
  let events: { name: string; accepts: (data: Record<string, unknown>) => boolean; waiting: Waiting }[] = []
  const greeting = Promise.withResolvers<unknown>()

  const lines = createInterface({ input: socket })
  lines.on('line', (line) => {
    const message = JSON.parse(line) as Message
    if (message.QMP !== undefined) greeting.resolve(undefined)
    else if (message.event !== undefined) {
      const data = message.data ?? {}
      const matching = events.filter((each) => each.name === message.event && each.accepts(data))
      events = events.filter((each) => !matching.includes(each))
      for (const each of matching) each.waiting.resolve(data)
    } else if (message.error !== undefined) commands.shift()?.reject(new Error(`QEMU: ${message.error.desc}`))
    else commands.shift()?.resolve(message.return)
  })
  socket.once('close', () => {
    const error = new Error('QEMU has closed its control socket')
    greeting.reject(error)
    for (const waiting of [...commands.splice(0), ...events.splice(0).map((each) => each.waiting)]) waiting.reject(error)
  })
  socket.on('error', () => socket.destroy()) // 'close' follows and rejects what waits

  const qmp: Qmp = {
    command(execute, args = {}) {
      return new Promise((resolve, reject) => {
        if (socket.destroyed) return reject(new Error('QEMU has closed its control socket'))
        commands.push({ resolve, reject })
        socket.write(JSON.stringify({ execute, arguments: args }) + '\n')
      })
    },
    event(name, accepts = () => true) {
      const { promise, resolve, reject } = Promise.withResolvers<Record<string, unknown>>()
      events.push({ name, accepts, waiting: { resolve: (value) => resolve(value as Record<string, unknown>), reject } })
      promise.catch(() => {}) // the caller may have failed before it awaits
      return promise
    },
    [Symbol.dispose]() {
      socket.destroy()
    },
  }
  await greeting.promise
  await qmp.command('qmp_capabilities')
  return qmp
}
