import { boundedLog, type LogBounds } from '@swarm/contract/log-file.ts'
import { destination, pino, type Logger } from 'pino'

/** JSON lines to a file of its own, of bounded size, or to stderr; stdout is for the ready line. Tokens never reach it: work is logged by id. */
export function createRunnerLogger(level: string, path: string | undefined, bounds?: LogBounds): Logger {
  return pino({ level, base: { process: 'runner', pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) } },
    path === undefined ? destination({ dest: 2, sync: true }) : boundedLog(path, bounds))
}
