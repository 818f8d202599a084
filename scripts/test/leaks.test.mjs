import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { leaksSince, markerEnvironment, snapshot } from './leaks.mjs'

let run
let before

beforeEach(() => {
  run = { temporaryFolder: mkdtempSync(join(tmpdir(), 'leaks-')), runId: randomUUID() }
  before = snapshot(run)
})
afterEach(() => rmSync(run.temporaryFolder, { recursive: true, force: true }))

/** What other programs of this machine make meanwhile is not this test's business. */
const ours = (name) => leaksSince(before, run).filter((leak) => leak.includes(name))

test('a run that leaves nothing has no leak', () => {
  expect(ours(run.temporaryFolder)).toEqual([])
})

test('a process that outlives the run is named, even when its parent is gone', async () => {
  // The shell starts a process in a session of its own and ends: what is left belongs to init.
  const shell = spawn('sh', ['-c', 'setsid sleep 60 >/dev/null 2>&1 & echo $!'], { env: { ...process.env, ...markerEnvironment(run.runId) }, stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  for await (const chunk of shell.stdout) text += chunk
  const pid = Number(text)
  try {
    expect(leaksSince(before, run)).toContainEqual(expect.stringMatching(/^process \d+ (setsid )?sleep 60$/))
  } finally {
    process.kill(pid, 'SIGKILL')
  }
})

test('a file left in the folder for temporary files is named', () => {
  writeFileSync(join(run.temporaryFolder, 'left'), '')
  expect(leaksSince(before, run)).toContain(`temporary file ${join(run.temporaryFolder, 'left')}`)
})

test.runIf(process.platform === 'linux')('shared memory is named, except for new templates in a cache that was there before', () => {
  const cache = join('/dev/shm', `swarm-0-${run.runId.slice(0, 8)}`)
  mkdirSync(cache)
  try {
    expect(ours(cache)).toEqual([`shared memory ${cache}`])
    before = snapshot(run)
    mkdirSync(join(cache, 'templates', 'new'), { recursive: true })
    expect(ours(cache)).toEqual([])
    writeFileSync(join(cache, 'clone.sock'), '')
    expect(ours(cache)).toEqual([`shared memory ${join(cache, 'clone.sock')}`])
  } finally {
    rmSync(cache, { recursive: true })
  }
})
