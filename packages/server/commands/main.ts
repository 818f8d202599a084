import { parseArgs } from 'node:util'
import { programFailure } from '@swarm/contract/program-failure.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { backup } from './backup.ts'
import { check } from './check.ts'
import { restore } from './restore.ts'
import { retention } from './retention.ts'

/*
 * What the command line asks of the server's parts, whether or not a server runs: `node packages/server/commands/main.ts COMMAND
 * [options]`. JSON lines on stdout: {"progress": {phase, detail, bytes?}} any number of times, then {"result": …}. A failure is
 * one line on stderr, {"error": {code, message, remedy, details}}, exit 1.
 */

const COMMANDS = { backup, check, restore, retention }

export interface CommandOptions { readonly file?: string; readonly force?: boolean; readonly 'dry-run'?: boolean; readonly 'model-log'?: string; readonly settled?: boolean; readonly repair?: boolean }
export interface CommandContext {
  readonly progress: (about: { phase: string; detail: string; bytes?: number }) => void
  /** Aborted by SIGTERM and SIGINT. */
  readonly signal: AbortSignal
}

const stopping = new AbortController()
for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, () => { stopping.abort(new DomainError('interrupted')) })
try {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { file: { type: 'string' }, force: { type: 'boolean' }, 'dry-run': { type: 'boolean' }, 'model-log': { type: 'string' }, settled: { type: 'boolean' }, repair: { type: 'boolean' } } })
  const name = positionals[0] ?? ''
  if (!Object.hasOwn(COMMANDS, name)) throw new DomainError('invalid_input', { problem: `there is no command ${name}`, field: 'the command line' })
  const progress: CommandContext['progress'] = (about) => { process.stdout.write(`${JSON.stringify({ progress: about })}\n`) }
  const result = await COMMANDS[name as keyof typeof COMMANDS](values, { progress, signal: stopping.signal })
  process.stdout.write(`${JSON.stringify({ result })}\n`)
} catch (error) {
  process.stderr.write(`${JSON.stringify({ error: programFailure(error) })}\n`)
  process.exitCode = 1
}
