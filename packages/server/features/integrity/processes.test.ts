import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { serverRuns } from './processes.ts'

test('a server runs where its run file names a living process, and not where another process got its pid', () => {
  const home = mkdtempSync(join(tmpdir(), 'swarm-server-runs-test-'))
  try {
    mkdirSync(join(home, 'run'))
    const write = (about: object | string): void => { writeFileSync(join(home, 'run', 'server.json'), JSON.stringify(about)) }
    const own = Number(/\) \S(?: \S+){18} (\d+)/.exec(readFileSync('/proc/self/stat', 'utf8'))?.[1])
    expect(serverRuns(home)).toBe(false)
    write({ pid: process.pid, startTicks: own })
    expect(serverRuns(home)).toBe(true)
    write({ pid: process.pid, startTicks: own - 1 })
    expect(serverRuns(home)).toBe(false)
    write({ pid: 999_999_999, startTicks: own })
    expect(serverRuns(home)).toBe(false)
    write('of another version')
    expect(serverRuns(home)).toBe(false)
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
})
