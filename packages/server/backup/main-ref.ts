import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

const LINE = /^[0-9a-f]+ ([0-9a-f]+) [^\t]* (\d+) [+-]\d{4}(\t|$)/

/**
 * In a copy of a repository that is newer than the snapshot of the database: puts the default branch to the newest value that it
 * had at the moment of the snapshot. That is one that it got before, by its reflog, or one that the database names (a merge may
 * have moved the ref in the same second). Without this, main would hold merges of which the database knows no check.
 * @param known commits that the database names as merged or about to be
 * @param at the moment of the snapshot, ms since the epoch
 * @returns the commit that main was put to, or null when it stayed
 */
export function alignMain(repository: string, branch: string, known: ReadonlySet<string>, at: number): string | null {
  const logPath = join(repository, 'logs', 'refs', 'heads', branch)
  const refPath = join(repository, 'refs', 'heads', branch)
  if (!existsSync(logPath)) return null
  const lines = readFileSync(logPath, 'utf8').split('\n').filter((line) => line !== '')
  const values = lines.map((line) => LINE.exec(line)).map((match) => ({ sha: match?.[1] ?? '', second: Number(match?.[2] ?? 0) }))
  const current = existsSync(refPath) ? readFileSync(refPath, 'utf8').trim() : null
  // The log may be one entry ahead of the ref.
  const from = current === null ? values.length - 1 : values.findLastIndex(({ sha }) => sha === current)
  for (let index = from; index >= 0; index--) {
    const { sha, second } = values[index] ?? { sha: '', second: 0 }
    if (!known.has(sha) && second >= Math.floor(at / 1000)) continue
    writeFileSync(logPath, `${lines.slice(0, index + 1).join('\n')}\n`)
    if (sha === current) return null
    mkdirSync(dirname(refPath), { recursive: true, mode: 0o700 })
    writeFileSync(refPath, `${sha}\n`)
    return sha
  }
  return null
}
