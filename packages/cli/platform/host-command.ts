import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { z } from 'zod'
import { parseJson } from '@swarm/core/json.ts'
import { CHECKOUT, childEnvironment } from '../config.ts'
import { exitCodeOfFailure, failureOf, UserError } from '../errors.ts'
import { EXIT } from '../exit-codes.ts'

const Line = z.union([
  z.object({ progress: z.object({ phase: z.string(), detail: z.string(), bytes: z.number().optional() }) }),
  z.object({ result: z.unknown() }),
])
export type HostProgress = { phase: string; detail: string; bytes?: number | undefined }

/**
 * Has the runner's parts do something on this host (packages/runner/commands), or the server's (packages/server/commands): they are
 * another package's, so it is a process.
 * @throws UserError with the program's own code, words and remedy
 */
export async function hostCommand<Result extends z.ZodType>(name: string, result: Result, options: {
  of?: 'runner' | 'server'; input?: string; args?: readonly string[]; env?: Readonly<Record<string, string>>; onProgress?: (progress: HostProgress) => void; signal?: AbortSignal
} = {}): Promise<z.output<Result>> {
  options.signal?.throwIfAborted()
  const tether = new URL('./tether.ts', import.meta.url).href
  const child = spawn(process.execPath, ['--import', tether, join(CHECKOUT, 'packages', options.of ?? 'runner', 'commands', 'main.ts'), name, ...options.args ?? []], {
    cwd: CHECKOUT, env: childEnvironment(options.env ?? {}), stdio: ['pipe', 'pipe', 'pipe', 'pipe'], detached: true,
  })
  if (!child.stdin || !child.stdout || !child.stderr) throw new Error('the pipes that were asked for are missing')
  const stop = (): void => { child.kill('SIGTERM') }
  options.signal?.addEventListener('abort', stop, { once: true })
  child.stdio[3]?.on('error', () => undefined)
  child.stdin.on('error', () => undefined) // one that has ended already says why itself
  child.stdin.end(options.input ?? '')
  let stderr = ''
  let value: unknown
  child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr = (stderr + text).slice(-20_000) })
  createInterface({ input: child.stdout }).on('line', (line) => {
    const said = Line.safeParse(parseJson(line))
    if (!said.success) return
    if ('progress' in said.data) options.onProgress?.(said.data.progress)
    else value = said.data.result
  })
  const [code] = await once(child, 'close') as [number | null]
  options.signal?.removeEventListener('abort', stop)
  options.signal?.throwIfAborted()
  const failure = failureOf(stderr)
  if (failure?.code === 'internal') throw new Error(failure.message)
  if (failure) throw new UserError(failure.code, failure.message, failure.remedy, exitCodeOfFailure(failure.code))
  if (code !== 0) throw new UserError('start_failed', `"${name}" on this host ended with code ${code}: ${stderr.trim().split('\n').at(-1) ?? ''}`, '"swarm doctor" says what this machine lacks.', EXIT.platform)
  return result.parse(value)
}
