import { createReadStream, existsSync, statSync, watch } from 'node:fs'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { z } from 'zod'
import { command } from '../command.ts'
import { UserError } from '../errors.ts'

/** The end of a file that is looked at for its last lines, bytes. */
const TAIL_BYTES = 1_000_000
const FILES = { server: 'server.log', runner: 'runner-local.log', platform: 'platform.log', rehearsal: 'rehearsal.jsonl' } as const

export const logs = command({
  name: 'logs',
  summary: 'Prints the end of a log of the platform',
  examples: [['swarm logs', 'the last 50 lines of the server'], ['swarm logs runner --lines 200', 'the runner\'s'], ['swarm logs server --follow', 'and what comes, until Ctrl-C']],
  arguments: [{ name: 'of', description: 'server, runner, platform or rehearsal', optional: true }],
  options: [{ flags: '--lines <number>', description: 'how many (50 unless given)' }, { flags: '--follow', description: 'go on with what is written from now on' }],
  input: z.object({ of: z.enum(['server', 'runner', 'platform', 'rehearsal'], 'choose server, runner, platform or rehearsal').default('server'), lines: z.coerce.number('give a number').int().min(1).max(100_000).default(50), follow: z.boolean().default(false) }),
  async run({ of, lines, follow }, { settings, io, signal }) {
    const path = join(settings().config.home, 'logs', FILES[of])
    if (!existsSync(path)) throw new UserError('log_missing', `There is no log ${path} yet.`, '"swarm start" starts the platform, which writes it when it has that part ("swarm status" shows its parts).')
    let read = statSync(path).size
    const tail = (await text(createReadStream(path, { start: Math.max(0, read - TAIL_BYTES), end: Math.max(0, read - 1) }))).trimEnd().split('\n').slice(-lines)
    if (!follow || io.json) return { json: { path, lines: tail }, text: tail.join('\n') }
    io.result(tail.join('\n'))
    const more = async (): Promise<void> => {
      const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0
      // Shorter than before: the full one was set aside, and this is the next.
      if (size < read) read = 0
      if (size === read) return
      const from = read
      read = size
      process.stdout.write(await text(createReadStream(path, { start: from, end: size - 1 })))
    }
    // The folder, since a file that is set aside takes its watcher along.
    const watcher = watch(dirname(path), () => { more().catch(() => { watcher.close() }) })
    await new Promise<void>((resolve) => { signal.addEventListener('abort', () => { resolve() }, { once: true }) })
    watcher.close()
    return { json: { path, lines: tail } }
  },
})
