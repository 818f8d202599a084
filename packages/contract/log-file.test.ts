import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { boundedLog } from './log-file.ts'

test('a log never takes more than its bounds; the newest lines are kept, also over a restart', () => {
  const folder = mkdtempSync(join(tmpdir(), 'swarm-log-'))
  try {
    const path = join(folder, 'logs', 'server.log')
    const bounds = { maxBytes: 1_000, files: 2 }
    let log = boundedLog(path, bounds)
    for (let line = 0; line < 500; line++) {
      if (line === 250) log = boundedLog(path, bounds)
      log.write(`line ${line}\n`)
    }
    expect(readdirSync(join(folder, 'logs')).sort()).toEqual(['server.log', 'server.log.1', 'server.log.2'])
    for (const name of readdirSync(join(folder, 'logs'))) expect(statSync(join(folder, 'logs', name)).size).toBeLessThan(1_020)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    const kept = ['.2', '.1', ''].map((end) => readFileSync(path + end, 'utf8')).join('').trim().split('\n')
    expect(kept.at(-1)).toBe('line 499')
    expect(kept).toEqual(kept.map((_, index) => `line ${500 - kept.length + index}`))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
