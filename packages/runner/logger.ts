import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { destination, pino, type Logger } from 'pino'

/** JSON lines to a file of its own (0600) or to stderr; stdout is for the ready line. Tokens never reach it: work is logged by id. */
export function createRunnerLogger(level: string, path: string | undefined): Logger {
  if (path !== undefined) mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  return pino({ level, base: { process: 'runner', pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) } },
    destination(path === undefined ? { dest: 2, sync: true } : { dest: path, sync: true, mode: 0o600 }))
}
