import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
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

test.runIf(process.platform === 'linux')('shared memory is named, except for the templates that stay on purpose', () => {
  const names = [`swarm-vm-${run.runId}`, `swarm-template-${run.runId}`].map((name) => join('/dev/shm', name))
  for (const name of names) writeFileSync(name, '')
  try {
    expect(ours(run.runId)).toEqual([`shared memory ${names[0]}`])
  } finally {
    for (const name of names) rmSync(name)
  }
})
