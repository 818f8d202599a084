import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ownIdentity } from '../host/processes.ts'
import { auditHost } from './audit.ts'
import { openVmJournal } from './journal.ts'
import { reclaimOrphans } from './reclaim.ts'

test('what a dead runner left is found, process, folder and record, and is gone once it was reclaimed; what a living one holds is its own', async () => {
  const home = mkdtempSync(join(tmpdir(), 'swarm-audit-test-'))
  const [slot, living] = ['swarm-slot-00000000dead', 'swarm-slot-00000000a11e']
  const folder = join(home, 'runner', 'local', 'disks', slot)
  mkdirSync(folder, { recursive: true })
  const child = spawn(process.execPath, ['-e', 'process.stdout.write("up"); setInterval(() => {}, 1000)', slot], { stdio: ['ignore', 'pipe', 'ignore'] })
  try {
    await once(child.stdout, 'data')
    const vms = join(home, 'runner', 'local', 'vms')
    openVmJournal(vms, { pid: ownIdentity().pid, startTicks: 1 }).add(slot, [folder])
    openVmJournal(vms).add(living, [])
    const { leftovers, processes } = auditHost(home)
    expect(processes).toBeGreaterThan(1)
    expect(leftovers.map(({ kind, id, recorded }) => `${kind} ${id} ${recorded}`).toSorted()).toEqual([`folder ${folder} true`, `process ${child.pid} true`, `record ${slot} true`])
    const ended = once(child, 'exit')
    await reclaimOrphans(openVmJournal(vms), (error) => { throw error })
    await ended
    expect(auditHost(home).leftovers).toEqual([])
  } finally {
    child.kill('SIGKILL')
    rmSync(home, { recursive: true, force: true })
  }
})
