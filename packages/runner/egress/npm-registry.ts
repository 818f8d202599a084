import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

let known: Promise<string> | undefined

/** The package registry that npm on this host is set to; asked once per process (npm takes half a second to say it). */
export function npmRegistry(): Promise<string> {
  known ??= promisify(execFile)('npm', ['config', 'get', 'registry'], { timeout: 30_000 }).then(({ stdout }) => stdout.trim())
  return known
}
