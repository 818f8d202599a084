import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { rotateIfFull } from '@swarm/contract/log-file.ts'
import { z } from 'zod'
import { command } from '../command.ts'
import { CHECKOUT, callerFolder, childEnvironment, userPath } from '../config.ts'
import { UserError } from '../errors.ts'
import { EXIT } from '../exit-codes.ts'
import { alreadyRunning } from '../platform/platform.ts'
import { readRunFile } from '../platform/run-file.ts'
import { readableFile } from '../run/inputs.ts'

const COMPILE_CACHE = new URL('../../../bin/compile-cache.mjs', import.meta.url).href

const Word = z.union([
  z.object({ ready: z.literal(true), url: z.string() }),
  z.object({ ready: z.literal(false), error: z.object({ code: z.string(), message: z.string(), remedy: z.string(), exitCode: z.number() }) }),
])

export const start = command({
  name: 'start',
  summary: 'Starts the platform in the background',
  description: 'Returns when it serves. What it prints goes to logs/platform.log in the home folder.',
  examples: [['swarm start', 'on port 8080'], ['swarm start --port 9000 --rehearsal script.yml', 'on another port, with a script for a model']],
  options: [
    { flags: '--port <number>', description: 'port of the server; 0: any free one' },
    { flags: '--rehearsal <file>', description: 'script that the rehearsal model plays instead of Claude' },
    { flags: '--no-runner', description: 'server only: other hosts do the work' },
  ],
  input: z.object({ port: z.coerce.number('give a number').int().min(0).max(65_535).optional(), rehearsal: z.string().optional(), runner: z.boolean().default(true) }),
  async run({ port, rehearsal, runner }, { signal, settings, io }) {
    const { config } = settings()
    if (readRunFile(config.home)) throw alreadyRunning(config.home)
    const script = rehearsal === undefined ? undefined : userPath(rehearsal)
    if (script !== undefined) await readableFile(script, 'The rehearsal script')
    mkdirSync(join(config.home, 'logs'), { recursive: true, mode: 0o700 })
    rotateIfFull(join(config.home, 'logs', 'platform.log'), { maxBytes: config.retention.logMb * 1024 ** 2, files: config.retention.logFiles })
    const log = openSync(join(config.home, 'logs', 'platform.log'), 'a', 0o600)
    const args = ['up', ...(port === undefined ? [] : ['--port', String(port)]), ...(script === undefined ? [] : ['--rehearsal', script]), ...(runner ? [] : ['--no-runner'])]
    const child = spawn(process.execPath, ['--import', COMPILE_CACHE, join(CHECKOUT, 'packages', 'cli', 'main.ts'), ...args], {
      cwd: CHECKOUT, env: childEnvironment({ SWARM_HOME: config.home, SWARM_CALLER_CWD: callerFolder(), NO_COLOR: '1' }), stdio: ['ignore', log, log, 'ipc'], detached: true,
    })
    closeSync(log)
    io.status('starting')
    const cancel = (): void => { child.kill('SIGTERM') }
    signal.addEventListener('abort', cancel, { once: true })
    const word = await new Promise<z.output<typeof Word> | null>((resolve) => {
      child.once('message', (message) => { resolve(Word.safeParse(message).data ?? null) })
      child.once('exit', () => { resolve(null) })
      child.once('error', () => { resolve(null) })
    })
    signal.throwIfAborted()
    signal.removeEventListener('abort', cancel)
    if (word === null) throw new UserError('start_failed', `The platform ended while it started; its last words are in ${join(config.home, 'logs', 'platform.log')}.`, '"swarm doctor" says what this machine lacks.', EXIT.platform)
    if (!word.ready) throw new UserError(word.error.code, word.error.message, word.error.remedy, word.error.exitCode)
    child.disconnect()
    child.unref()
    return { json: { url: word.url, pid: child.pid ?? 0 }, text: `Swarm runs at ${word.url} (process ${child.pid ?? 0}); "swarm stop" stops it.` }
  },
})
