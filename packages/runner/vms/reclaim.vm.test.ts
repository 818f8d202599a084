import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test, vi } from 'vitest'
import { createQemuDriver } from '../drivers/qemu/qemu.ts'
import { identifyProcess, isAlive, killProcess, processesWithArgument } from '../host/processes.ts'
import { openVmJournal } from './journal.ts'
import { reclaimOrphans } from './reclaim.ts'
import { testCache } from './testing.ts'

const OWNER = fileURLToPath(new URL('./testing-owner.ts', import.meta.url))

test('what a runner that was killed with -9 had, running or waiting, is reclaimed and reported at the next start', async () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'swarm-reclaim-test-'))
  try {
    const owner = spawn(process.execPath, [OWNER, stateDir], { stdio: ['ignore', 'pipe', 'inherit'] })
    await new Promise<void>((resolve) => owner.stdout.on('data', (chunk: Buffer) => { if (chunk.includes('VM RUNS')) resolve() }))
    const records = openVmJournal(join(stateDir, 'vms')).records()
    expect(records.map(({ vmId }) => vmId)).toContain('VM-ORPHAN01')
    owner.kill('SIGKILL')
    await new Promise((resolve) => owner.once('close', resolve))
    // QEMU goes with its owner, by the kernel; files and cgroups are what is left.
    for (const { process } of records) await vi.waitFor(() => { expect(process !== null && isAlive(process)).toBe(false) }, { timeout: 10_000 })
    expect(records.flatMap(({ folders }) => folders).some((folder) => existsSync(folder))).toBe(true)

    await using driver = await createQemuDriver({ cache: testCache(), stateDir, warm: 0 })
    expect(driver.reclaimed.map(({ slot }) => slot).sort()).toEqual(records.map(({ slot }) => slot).sort())
    const orphan = driver.reclaimed.find(({ vmId }) => vmId === 'VM-ORPHAN01')
    expect(orphan?.removed.length).toBeGreaterThan(0)
    for (const { slot, process, folders, cgroups } of records) {
      expect(processesWithArgument(slot)).toEqual([])
      expect(process !== null && isAlive(process)).toBe(false)
      expect([...folders, ...cgroups].filter((path) => existsSync(path))).toEqual([])
    }
    expect(openVmJournal(join(stateDir, 'vms')).records()).toEqual([])
  } finally {
    rmSync(stateDir, { recursive: true, force: true })
  }
})

test('a process that was started but not yet recorded is found by its name', async () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'swarm-reclaim-test-'))
  const stray = spawn('/bin/sh', ['-c', 'read forever', 'swarm-slot-test00000001'], { stdio: ['pipe', 'ignore', 'ignore'] })
  try {
    const journal = openVmJournal(join(stateDir, 'vms'), { pid: 2 ** 22 + 1, startTicks: 1 })
    journal.add('swarm-slot-test00000001', [join(stateDir, 'folder')])
    expect(await reclaimOrphans(journal, (error) => { throw error })).toMatchObject([{ slot: 'swarm-slot-test00000001', vmId: null, killed: [stray.pid] }])
  } finally {
    const identity = identifyProcess(stray.pid ?? 0)
    if (identity !== null) killProcess(identity)
    rmSync(stateDir, { recursive: true, force: true })
  }
})

test('the records of a living runner are left alone', async () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'swarm-reclaim-test-'))
  try {
    const journal = openVmJournal(join(stateDir, 'vms'))
    journal.add('swarm-slot-test00000002', [])
    expect(await reclaimOrphans(journal, (error) => { throw error })).toEqual([])
    expect(journal.records()).toHaveLength(1)
  } finally {
    rmSync(stateDir, { recursive: true, force: true })
  }
})
