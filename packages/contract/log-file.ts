import { closeSync, existsSync, fstatSync, mkdirSync, openSync, renameSync, rmSync, statSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'

/** Bounds of a log: when a file is full it becomes `<name>.1`, that one `<name>.2`, and the last is removed. */
export interface LogBounds { readonly maxBytes: number; readonly files: number }

export const LOG_BOUNDS: LogBounds = { maxBytes: 50 * 1024 ** 2, files: 5 }

/** Moves a full log aside, if it is full. For logs that another process writes, before it starts. */
export function rotateIfFull(path: string, { maxBytes, files }: LogBounds): void {
  if (!existsSync(path) || statSync(path).size < maxBytes) return
  if (files === 0) return rmSync(path)
  for (let number = files - 1; number >= 1; number--) if (existsSync(`${path}.${number}`)) renameSync(`${path}.${number}`, `${path}.${number + 1}`)
  renameSync(path, `${path}.1`)
}

/**
 * A log file of bounded size (made with its folder, 0600), as a destination of pino. Each line is written before the call returns:
 * the last lines before a crash are the ones that are wanted. A disk that is full loses lines, and ends nobody's work.
 */
export function boundedLog(path: string, bounds: LogBounds = LOG_BOUNDS): { write(line: string): void; close(): void } {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  rotateIfFull(path, bounds)
  let file = openSync(path, 'a', 0o600)
  let bytes = fstatSync(file).size
  return {
    close: () => { closeSync(file) },
    write(line) {
      try {
        if (bytes >= bounds.maxBytes) {
          closeSync(file)
          rotateIfFull(path, bounds)
          file = openSync(path, 'a', 0o600)
          bytes = fstatSync(file).size
        }
        bytes += writeSync(file, line)
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT' || error.code === 'EIO'))) throw error
      }
    },
  }
}
