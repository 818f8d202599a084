import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { destination, pino, type DestinationStream, type Logger, type LoggerOptions } from 'pino'
import { knownCorrelationId } from './correlation.ts'

export type { Logger }

const REDACTED_KEYS = ['authorization', 'cookie', 'token', 'apiKey', 'password', 'secret', 'x-api-key']
const SECRETS = /swarm_[a-z]+_[A-Za-z0-9_-]{43}|sk-ant-[A-Za-z0-9_-]{8,}|(?<=:\/\/[^\s:/@"]*:)[^\s@"]+(?=@)/g

/** Where lines go: a file (made with its folder, 0600), or stdout. */
export function logDestination(path: string | undefined): DestinationStream {
  if (path === undefined) return destination({ dest: 1, sync: true })
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  // Synchronous: the last lines before a crash are the ones that are wanted.
  return destination({ dest: path, sync: true, mode: 0o600 })
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
