import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { fakeImage } from '@swarm/testkit/firecracker/image.ts'
import { installFake, type FakeInstallation, type Fault } from '@swarm/testkit/firecracker/plan.ts'
import { isAlive, killProcess, type ProcessIdentity } from '../../host/processes.ts'
import type { Image } from '../../images/image.ts'
import { auditHost } from '../../vms/audit.ts'
import { openVmJournal } from '../../vms/journal.ts'
import { jailsFolder, templatesFolder } from '../../vms/templates.ts'
import type { Template } from '../driver.ts'
import { createFirecrackerDriver, type FirecrackerDriver, type FirecrackerDriverOptions } from './firecracker.ts'
import { REQUESTS } from './requests.ts'

// The driver as it is, against processes that stand in for firecracker and jailer at their command lines and sockets
// (packages/testkit/firecracker): no KVM, no guest. What the real ones do is tried by firecracker.vm.test.ts, where they are.

const SIZE = { vcpus: 1, memoryMb: 128, scratchMb: 64 }
const isRoot = process.getuid?.() === 0
const suite = isRoot ? describe : describe.skip

let folder: string
let fake: FakeInstallation
let image: Image
let driver: FirecrackerDriver
let template: Template
let count = 0
const notices: string[] = []
const open = (options: Partial<FirecrackerDriverOptions> = {}) => createFirecrackerDriver({
  cache: join(folder, 'cache'), stateDir: join(folder, 'state'), warm: 0, diskMbPerS: 100, paths: { firecracker: fake.firecracker, jailer: fake.jailer }, onNotice: (notice) => notices.push(notice), ...options,
})
const restore = (limits = {}) => driver.restore(template, { id: `VM-CONTRACT${++count}`, limits, correlationId: 'test' })
const records = () => openVmJournal(join(folder, 'state', 'vms')).records()
const recordOf = (vmId: string) => records().find((record) => record.vmId === vmId)
function scratchOf(vmId: string): string {
  const record = recordOf(vmId)
  return join(record?.folders[0] ?? '', 'firecracker', record?.slot ?? '', 'root', 'scratch')
}

/** Processes, jails, cgroups, records and half-made templates that are there beside those of `kept` slots. */
function left(kept: readonly string[] = []): string[] {
  const processes = readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
    const words = read(`/proc/${pid}/cmdline`).split('\0')
    return words.includes(join(folder, 'fake')) && !kept.some((slot) => words.includes(slot)) ? [`process ${words.join(' ')}`] : []
  })
  // Other runners of this host may have groups beside.
  const known = new Set(fake.slots())
  const groups = ['/sys/fs/cgroup/swarm', '/sys/fs/cgroup/cpu/swarm', '/sys/fs/cgroup/memory/swarm'].filter((path) => existsSync(path)).flatMap((path) => readdirSync(path).filter((name) => known.has(name)).map((name) => join(path, name)))
  const jails = existsSync(jailsFolder(join(folder, 'cache'))) ? readdirSync(jailsFolder(join(folder, 'cache'))) : []
  const building = readdirSync(templatesFolder(join(folder, 'cache'), 'firecracker')).filter((name) => name.startsWith('.'))
  return [...processes, ...groups, ...jails.filter((name) => !kept.includes(name)), ...records().map(({ slot }) => slot).filter((slot) => !kept.includes(slot)), ...building]
}
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

// Each start is two processes of Node, and some tests have four: a second each, ten on a machine that is busy with microVMs.
suite('the Firecracker driver against a Firecracker that is none (needs root)', { timeout: 120_000 }, () => {
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'swarm-firecracker-test-'))
    mkdirSync(join(folder, 'cache'))
    fake = installFake(join(folder, 'fake'))
    image = fakeImage(join(folder, 'cache', 'image'))
    driver = await open()
    template = await driver.buildTemplate(image, SIZE)
  })
  beforeEach(() => {
    fake.plan({})
    notices.length = 0
  })
  afterEach(() => { expect(fake.requests().filter(({ problems }) => problems.length > 0)).toEqual([]) })
  afterAll(async () => {
    await driver?.[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  })

  test('boots and saves a template that nobody may write, restores it, runs commands, says what it uses, and leaves nothing', async () => {
    for (const file of ['memory', 'state']) expect(statSync(join(template.directory, file))).toMatchObject({ mode: 0o100444, uid: 0 })
    const vm = await restore()
    const record = recordOf(vm.id)
    expect(vm).toMatchObject({ driver: 'firecracker', templateKey: template.key })
    expect(await vm.exec({ argv: ['hello', 'there'] })).toMatchObject({ code: 0, stdout: 'hello there\n' })
    await vm.pause()
    await vm.resume()
    expect(await vm.stats()).toMatchObject({ guestMemory: { totalBytes: 500_000_000, availableBytes: 400_000_000 }, disk: { readBytes: 4_096, writtenBytes: 512, throttled: 1 } })
    // Each flush holds what came since the one before.
    expect((await vm.stats()).disk).toEqual({ readBytes: 8_192, writtenBytes: 1_024, throttled: 2 })
    vm.onForward((stream) => { stream.pipe(stream) })
    expect(await vm.exec({ argv: ['forward', 'round trip'] })).toMatchObject({ stdout: 'round trip' })
    expect((await vm.stats()).egressBytes).toBe('round trip'.length)
    expect(record?.process !== null && record !== undefined && isAlive(record.process as ProcessIdentity)).toBe(true)
    // Its health is looked at.
    await expect.poll(() => fake.requests().some(({ method, path }) => method === 'GET' && path === '/'), { timeout: 30_000 }).toBe(true)
    await vm[Symbol.asyncDispose]()
    expect(await vm.ended).toMatchObject({ reason: 'disposed' })
    expect(record?.process !== null && record !== undefined && isAlive(record.process as ProcessIdentity)).toBe(false)
    expect(left()).toEqual([])
  })

  test('stands still for good while its disk is saved, and starts another one with it', async () => {
    await using vm = await restore()
    writeFileSync(scratchOf(vm.id), 'kept')
    const saved = join(folder, 'saved')
    await vm.saveScratch?.(saved)
    expect(fake.requests().at(-1)).toMatchObject({ method: 'PATCH', path: '/vm', operation: 'patchVm:Paused' })
    await using other = await driver.restore(template, { id: 'VM-FROMDISK', limits: {}, correlationId: 'test', scratch: saved })
    expect(readFileSync(scratchOf(other.id), 'utf8')).toBe('kept')
  })

  test('has sent each of its requests at least once, all of them valid and in order', () => {
    const sent = new Set(fake.requests().map(({ method, path, operation }) => `${method} ${path} ${operation?.split(':')[1] ?? ''}`))
    const all = [
      ...Object.entries(REQUESTS).filter(([name]) => name !== 'drive' && name !== 'limitDrive').map(([, request]) => (request as (size: typeof SIZE) => ReturnType<typeof REQUESTS.version>)(SIZE)),
      ...(['root', 'scratch'] as const).flatMap((drive) => [REQUESTS.drive(drive), REQUESTS.limitDrive(drive, 1)]),
    ]
    const named = all.map(({ method, path, body }) => `${method} ${path} ${path === '/actions' || path === '/vm' ? String(Object.values(body ?? {})[0]) : ''}`)
    expect(named.filter((each) => !sent.has(each))).toEqual([])
    expect([...sent].filter((each) => !named.includes(each))).toEqual([])
  })

  test('gives each microVM a user of its own, and says so when all are taken', async () => {
    await using few = await open({ stateDir: join(folder, 'few'), uids: { first: 1_950_000_000, count: 2 } })
    const third = { id: 'VM-THIRD', limits: {}, correlationId: 'test' }
    await using first = await few.restore(template, { ...third, id: 'VM-FIRST' })
    await using second = await few.restore(template, { ...third, id: 'VM-SECOND' })
    const owners = openVmJournal(join(folder, 'few', 'vms')).records().map(({ slot, folders }) => statSync(join(folders[0] ?? '', 'firecracker', slot, 'root')).uid)
    expect(owners.toSorted()).toEqual([1_950_000_000, 1_950_000_001])
    await expect(few.restore(template, third)).rejects.toMatchObject({ code: 'vm_start_failed', message: expect.stringContaining('all 2 users') })
    await Promise.all([first[Symbol.asyncDispose](), second[Symbol.asyncDispose]()])
    expect(left()).toEqual([])
  })

  const BOOT = ['PUT /logger', 'PUT /metrics', 'PUT /serial', 'PUT /machine-config', 'PUT /boot-source', 'PUT /drives/root', 'PUT /drives/scratch', 'PUT /vsock', 'PUT /entropy', 'PUT /balloon', 'PUT /actions', 'PATCH /vm', 'PUT /snapshot/create']
  const RESTORE = ['GET /version', 'PUT /logger', 'PUT /metrics', 'PUT /snapshot/load', 'PATCH /drives/root', 'PATCH /drives/scratch', 'PATCH /vm']

  describe.each([['a template', BOOT, async () => { await driver.buildTemplate(image, { ...SIZE, memoryMb: 129 }) }], ['a restore', RESTORE, async () => { await restore() }]] as const)('%s that fails', (_what, steps, start) => {
    test.each(steps)('at a refused %s says what Firecracker said, and leaves nothing', async (at) => {
      fake.plan({ faults: [{ at, how: 'refuse', status: 400 }] })
      const failure = await start().catch((error: unknown) => error)
      expect(failure).toMatchObject({ code: 'vm_start_failed', message: expect.stringContaining(`400 refused by plan: ${at}`) })
      expect(left()).toEqual([])
    })
    test.each(steps)('at the death of the process in %s leaves nothing', async (at) => {
      fake.plan({ faults: [{ at, how: 'die' }] })
      await expect(start()).rejects.toMatchObject({ code: 'vm_start_failed' })
      expect(left()).toEqual([])
    })
    test.each<[string, Partial<Parameters<FakeInstallation['plan']>[0]>, RegExp]>([
      ['an answer 500', { faults: [{ at: steps[1] ?? '', how: 'refuse', status: 500 }] }, /500 refused by plan/],
      ['a process that never listens', { faults: [{ at: 'start', how: 'die' }] }, /dies before it listens/],
      ['a jailer that gives up', { jailerFailure: 'Chroot(Permission denied)' }, /Chroot\(Permission denied\)/],
      ['a guest that refuses to be prepared', { faults: [{ at: 'prepare', how: 'refuse' }] }, /scratch disk cannot be mounted/],
      ['a process that dies at the hello', { faults: [{ at: 'hello', how: 'die' }] }, /Firecracker has ended|channel was closed/],
    ])('at %s says it, and leaves nothing', async (_name, plan, message) => {
      fake.plan(plan)
      const failure = await start().catch((error: unknown) => error)
      expect(failure).toMatchObject({ code: 'vm_start_failed', message: expect.stringMatching(message) })
      expect(left()).toEqual([])
    })
  })

  test('quotes the end of the log when a start fails', async () => {
    fake.plan({ faults: [{ at: 'PUT /snapshot/load', how: 'die' }] })
    await expect(restore()).rejects.toThrow(/its log ends with: .*it dies by plan/)
  })

  test('waits for slow answers', async () => {
    const slow: Fault[] = RESTORE.map((at) => ({ at, how: 'slow', delayMs: 150 }))
    fake.plan({ faults: slow })
    await using vm = await restore()
    expect(await vm.exec({ argv: ['still'] })).toMatchObject({ stdout: 'still\n' })
  })

  test('connects again to a restored guest that drops its first connection before it has said hello', async () => {
    fake.plan({ faults: [{ at: 'hello', how: 'drop-first' }] })
    await using vm = await restore()
    expect(await vm.exec({ argv: ['second'] })).toMatchObject({ stdout: 'second\n' })
  })

  test('gives up a restored guest whose vsock nobody listens on, or that drops each hello', async () => {
    for (const fault of [{ at: 'guest', how: 'deaf' }, { at: 'hello', how: 'refuse' }] as const) {
      fake.plan({ faults: [fault] })
      await expect(restore()).rejects.toMatchObject({ code: 'vm_start_failed' })
    }
    expect(left()).toEqual([])
  })

  test('reports a VMM that dies, in the middle of a command or by its own last answer, as crashed', async () => {
    const vm = await restore()
    const identity = recordOf(vm.id)?.process
    const running = vm.exec({ argv: ['sleep'], onStdout: () => { if (identity) killProcess(identity) } })
    await expect(running).rejects.toMatchObject({ code: 'vm_ended', details: { reason: 'crashed' } })
    expect(await vm.ended).toMatchObject({ reason: 'crashed', detail: expect.stringContaining('Firecracker has ended') })
    fake.plan({ faults: [{ at: 'GET /balloon/statistics', how: 'die' }] })
    const other = await restore()
    expect(await other.stats()).not.toHaveProperty('guestMemory')
    expect(await other.ended).toMatchObject({ reason: 'crashed' })
    expect(left()).toEqual([])
  })

  test('names a guest that breaks the protocol, and a refused pause', async () => {
    const vm = await restore()
    await expect(vm.exec({ argv: ['garbage'] })).rejects.toMatchObject({ code: 'vm_ended', details: { reason: 'protocol_violation' } })
    fake.plan({ faults: [{ at: 'GET /balloon/statistics', how: 'refuse' }] })
    await using other = await restore()
    expect(await other.stats()).not.toHaveProperty('guestMemory')
  })

  test('kills a microVM at its wall clock, and limits its share of the CPU by the cgroup that the jailer made, or refuses to', async () => {
    const vm = await restore({ wallMs: 300 })
    expect(await vm.ended).toMatchObject({ reason: 'wall_clock' })
    if (driver.unenforced.some((limit) => limit.startsWith('cpu'))) await expect(restore({ cpuShare: 0.5 })).rejects.toMatchObject({ code: 'vm_limit_unenforceable' })
    else {
      await using limited = await restore({ cpuShare: 0.5 })
      const record = recordOf(limited.id)
      expect(record?.cgroups.length).toBeGreaterThan(0)
      for (const path of record?.cgroups ?? []) expect(read(join(path, 'cgroup.procs')).split('\n')).toContain(String(record?.process?.pid))
    }
    expect(left()).toEqual([])
  })

  test('refuses a template of another version of Firecracker or of another CPU', async () => {
    fake.plan({ version: '1.18.0' })
    await expect(restore()).rejects.toMatchObject({ code: 'template_incompatible', message: expect.stringContaining('saved by Firecracker 1.17.0, and this is 1.18.0') })
    fake.plan({})
    const path = join(template.directory, 'template.json')
    const manifest = readFileSync(path, 'utf8')
    writeFileSync(path, JSON.stringify({ ...JSON.parse(manifest) as object, madeOn: { vmmVersion: '1.17.0', cpuModel: 'an older CPU' } }))
    try {
      await expect(restore()).rejects.toMatchObject({ code: 'template_incompatible', message: expect.stringContaining('an older CPU') })
      await expect(driver.buildTemplate(image, SIZE)).rejects.toMatchObject({ code: 'template_incompatible' })
    } finally {
      writeFileSync(path, manifest)
    }
    expect(left()).toEqual([])
  })

  test.each([
    ['an old release', { version: '1.15.2' }, /version 1\.15\.2; from 1\.16\.1 on/], ['programs of two releases', { jailerVersion: '1.16.1' }, /must be of one release/],
  ] as const)('refuses %s', async (_name, plan, message) => {
    fake.plan(plan)
    await expect(open({ stateDir: join(folder, 'refused') })).rejects.toMatchObject({ code: 'driver_unavailable', message: expect.stringMatching(message) })
  })

  test('is refused with what is missing where there are no programs', async () => {
    await expect(open({ stateDir: join(folder, 'refused'), paths: { firecracker: join(folder, 'none'), jailer: fake.jailer } })).rejects.toMatchObject({ code: 'driver_unavailable', message: expect.stringContaining('SWARM_VM_FIRECRACKER is') })
  })

  test('takes a process that waits for a restore, replaces one that dies while it waits, and ends those that nobody takes', async () => {
    await using warm = await open({ stateDir: join(folder, 'warm'), warm: 1 })
    const waiting = () => openVmJournal(join(folder, 'warm', 'vms')).records().filter(({ process, vmId }) => process !== null && vmId === null)
    await warm.prewarm(await warm.buildTemplate(image, SIZE), 1)
    const [first] = waiting()
    if (first?.process) killProcess(first.process)
    await expect.poll(() => waiting().map(({ slot }) => slot).filter((slot) => slot !== first?.slot).length, { timeout: 60_000 }).toBe(1)
    await warm.prewarm(template, 1)
    const [next] = waiting()
    await using vm = await warm.restore(template, { id: 'VM-WARM', limits: {}, correlationId: 'test' })
    expect(openVmJournal(join(folder, 'warm', 'vms')).records().find(({ vmId }) => vmId === vm.id)?.slot).toBe(next?.slot)
    await warm.letGo()
    await vm[Symbol.asyncDispose]()
    expect(notices.join('\n')).toContain('a waiting microVM has ended, and is replaced')
  })

  test('what a runner that was killed with -9 had, running or waiting, ends with it, and is reclaimed and reported', async () => {
    const home = join(folder, 'killed')
    const theirs = installFake(join(home, 'fake'))
    const owner = spawn(process.execPath, [fileURLToPath(new URL('./testing-owner.ts', import.meta.url)), home], { stdio: ['ignore', 'pipe', 'inherit'] })
    onTestFinished(() => { owner.kill('SIGKILL') })
    await once(owner.stdout, 'data')
    const journal = openVmJournal(join(home, 'state', 'vms'))
    await expect.poll(() => journal.records().filter(({ process }) => process !== null).length, { timeout: 60_000 }).toBeGreaterThanOrEqual(2)
    const had = journal.records()
    owner.kill('SIGKILL')
    await once(owner, 'close')
    for (const { process } of had) await expect.poll(() => process !== null && isAlive(process), { timeout: 60_000 }).toBe(false)
    expect(had.flatMap(({ folders }) => folders).some((path) => existsSync(path))).toBe(true)
    await using next = await createFirecrackerDriver({ cache: join(home, 'cache'), stateDir: join(home, 'state'), warm: 0, paths: { firecracker: theirs.firecracker, jailer: theirs.jailer } })
    expect(next.reclaimed.map(({ slot }) => slot).toSorted()).toEqual(expect.arrayContaining(had.map(({ slot }) => slot).toSorted()))
    expect(had.flatMap(({ folders, cgroups }) => [...folders, ...cgroups]).filter((path) => existsSync(path))).toEqual([])
    expect(journal.records()).toEqual([])
    // Other runners of this host may leave something at the same time.
    expect(auditHost(home, join(home, 'cache')).leftovers.filter(({ slot }) => had.some((record) => record.slot === slot))).toEqual([])
  })
})
