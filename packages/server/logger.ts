import { boundedLog, type LogBounds } from '@swarm/contract/log-file.ts'
import { destination, pino, type DestinationStream, type Logger, type LoggerOptions } from 'pino'
import { knownCorrelationId } from './correlation.ts'

export type { Logger }

const REDACTED_KEYS = ['authorization', 'cookie', 'token', 'apiKey', 'password', 'set-cookie', 'secret', 'x-api-key']
const SECRETS = /swarm_[a-z]+_[A-Za-z0-9_-]{43}|sk-ant-[A-Za-z0-9_-]{8,}|(?<=:\/\/[^\s:/@"]*:)[^\s@"]+(?=@)/g

/** Where lines go: a file of bounded size, or stdout. */
export function logDestination(path: string | undefined, bounds?: LogBounds): DestinationStream {
  return path === undefined ? destination({ dest: 1, sync: true }) : boundedLog(path, bounds)
}

/**
 * JSON lines with level, time, message, and the correlation id of whatever runs. Keys that hold secrets are left out, and
 * anything that looks like a token of ours, a model API key or the password in a URL is blanked in the finished line.
 */
export function createLogger(level: string, stream: DestinationStream): Logger {
  return pino({
    ...base(level),
    mixin: (_, __, logger) => {
      const correlationId = knownCorrelationId()
      // The request's own logger says it already.
      return correlationId === undefined || 'correlationId' in logger.bindings() ? {} : { correlationId }
    },
  }, stream)
}

function base(level: string): LoggerOptions {
  return {
    level,
    base: { process: 'server', pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: { paths: REDACTED_KEYS.flatMap((key) => [`["${key}"]`, `*["${key}"]`, `*.headers["${key}"]`]), censor: '[secret]' },
    hooks: { streamWrite: (line) => line.replace(SECRETS, '[secret]') },
  }
}
