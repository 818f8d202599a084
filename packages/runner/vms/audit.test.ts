import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { MARK_VARIABLE, ownIdentity } from '../host/processes.ts'
import { auditHost } from './audit.ts'
import { openVmJournal } from './journal.ts'
import { reclaimOrphans } from './reclaim.ts'
import { jailsFolder } from './templates.ts'

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

test.each([
  ['its environment is cleared', 'env', ['-i', 'sleep', '600'], false], ['it is marked', 'sleep', ['600'], false], ['its folder is gone', 'env', ['-i', 'sleep', '600'], true],
] as const)('a process that works in the folder of a slot without a record is found though nothing in its arguments says so: %s', async (_name, program, args, removed) => {
  const home = mkdtempSync(join(tmpdir(), 'swarm-audit-test-'))
  const slot = 'swarm-slot-0000000057a7'
  const folder = join(home, 'runner', 'local', 'processes', slot, 'work')
  mkdirSync(folder, { recursive: true })
  // Detached: setsid(2), as a daemon of an agent does it.
  const child = spawn(program, args, { detached: true, cwd: folder, env: { PATH: process.env['PATH'], [MARK_VARIABLE]: slot }, stdio: 'ignore' })
  try {
    await once(child, 'spawn')
    await vi.waitFor(() => { expect(readFileSync(`/proc/${child.pid}/cmdline`, 'utf8')).toBe('sleep\x00600\x00') })
    if (removed) rmSync(join(home, 'runner', 'local', 'processes', slot), { recursive: true })
    expect(auditHost(home).leftovers).toMatchObject([{ kind: 'process', id: String(child.pid), slot, recorded: false }])
    expect(auditHost(join(home, 'another')).leftovers.filter(({ id }) => id === String(child.pid))).toEqual([])
  } finally {
    child.kill('SIGKILL')
    rmSync(home, { recursive: true, force: true })
  }
})

test('a disk or a jail that nobody is behind is found where the runners of this home made it; those of other installations are theirs', () => {
  const folders = ['home', 'other', 'cache'].map((name) => mkdtempSync(join(tmpdir(), `swarm-audit-test-${name}-`)))
  const [home, other, cache] = folders as [string, string, string]
  try {
    const [own, foreign] = [home, other].map((each) => openVmJournal(join(each, 'runner', 'local', 'vms')).newSlot())
    const diskOf = (each: string, slot?: string) => join(each, 'runner', 'local', 'disks', slot ?? '')
    for (const [each, slot] of [[home, own], [other, foreign]] as const) mkdirSync(diskOf(each, slot), { recursive: true })
    expect(auditHost(home, cache).leftovers).toMatchObject([{ kind: 'folder', id: diskOf(home, own), slot: own, recorded: false }])
    for (const slot of [own, foreign]) mkdirSync(join(jailsFolder(cache), slot ?? ''), { recursive: true })
    expect(auditHost(home, cache).leftovers).toMatchObject([{ slot: own }, { kind: 'folder', id: join(jailsFolder(cache), own ?? ''), recorded: false }])
    expect(auditHost(other, cache).leftovers.map(({ slot }) => slot)).toEqual([foreign, foreign])
  } finally {
    for (const folder of folders) rmSync(folder, { recursive: true, force: true })
  }
})
