import type { Socket } from 'node:net'

/** The longest answer is what the console holds: 64 KiB, escaped. */
const MAX_LINE_CHARACTERS = 1024 ** 2

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

  const take = (line: string): void => {
    const message = JSON.parse(line) as Message
    if (message.QMP !== undefined) greeting.resolve(undefined)
    else if (message.event !== undefined) {
      const data = message.data ?? {}
      const matching = events.filter((each) => each.name === message.event && each.accepts(data))
      events = events.filter((each) => !matching.includes(each))
      for (const each of matching) each.waiting.resolve(data)
    } else if (message.error !== undefined) commands.shift()?.reject(new Error(`QEMU: ${message.error.desc}`))
    else if (message.return !== undefined) commands.shift()?.resolve(message.return)
    else throw new Error('a message that is none')
  }
  let text = ''
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (text + chunk).split('\n')
    text = lines.pop() ?? ''
    try {
      if (text.length > MAX_LINE_CHARACTERS) throw new Error('a line that does not end')
      for (const line of lines) if (line.trim() !== '') take(line)
    } catch (error) {
      // Whoever has taken QEMU over may say anything.
      socket.destroy(error instanceof Error ? error : new Error(String(error)))
    }
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
