import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import { createAdmission, type Needs, type Place } from './admission.ts'
import { memoryGroups, readHostRoom, type HostRoom } from './room.ts'

const GB = 1024 ** 3
const RULES = { memoryReserveBytes: GB, diskReserveBytes: GB, cpuOvercommit: 2 }
const room = (change: Partial<HostRoom> = {}): HostRoom => ({
  memoryTotalBytes: 9 * GB, memoryFreeBytes: 9 * GB, cores: 4, scratchTotalBytes: 101 * GB, scratchFreeBytes: 101 * GB, templateTotalBytes: 4 * GB, templateFreeBytes: 4 * GB, ...change,
})
const needs = (change: Partial<Needs> = {}): Needs => ({ memoryBytes: 2 * GB, cores: 1, scratchBytes: 2 * GB, templateBytes: 0, ...change })
const signal = new AbortController().signal
const turn = () => new Promise((resolve) => setImmediate(resolve))

test('what fits is placed at once, what does not waits with the reason, and a release lets it in', async () => {
  const problems: (string | null)[] = []
  const admission = createAdmission({ readRoom: () => room(), rules: RULES })
  admission.onProblem((problem) => { problems.push(problem) })
  const first = await admission.acquire(needs({ memoryBytes: 6 * GB }), signal)
  const second = admission.acquire(needs({ memoryBytes: 3 * GB }), signal)
  await vi.waitFor(() => { expect(admission.problem).toBe('2.0 GB of memory free, 3.0 GB needed') })
  first[Symbol.dispose]()
  await second
  expect(problems).toEqual(['2.0 GB of memory free, 3.0 GB needed', null])
})

test.each([
  ['CPU time', { cores: 5 }, {}, '3 cores of CPU time left to promise, 5 cores needed'], ['disk', { scratchBytes: 99 * GB }, {}, '98.0 GB of disk free, 99.0 GB needed'],
  ['room for templates', { templateBytes: 3 * GB }, { templateFreeBytes: 2 * GB }, '2.0 GB free for templates, 3.0 GB needed'],
])('a request waits for %s', async (_what, change, host, problem) => {
  const admission = createAdmission({ readRoom: () => room(host), rules: RULES })
  await admission.acquire(needs({ cores: 5 }), signal)
  const waiting = new AbortController()
  const asked = admission.acquire(needs(change), waiting.signal)
  await vi.waitFor(() => { expect(admission.problem).toBe(problem) })
  waiting.abort(new Error('enough'))
  await expect(asked).rejects.toThrow('enough')
  expect(admission.problem).toBeNull()
})

test('what was promised and is not taken yet counts as gone; what is taken is seen in what is free, and counts once', async () => {
  let free = 9 * GB
  let taken = 0
  const admission = createAdmission({ readRoom: () => room({ memoryFreeBytes: free }), rules: RULES, lookAgainMs: 5 })
  const place = await admission.acquire(needs({ memoryBytes: 4 * GB }), signal)
  place.occupy(async () => ({ privateBytes: taken, scratchBytes: 0 }))
  free -= taken = 3 * GB
  await admission.acquire(needs({ memoryBytes: 4 * GB }), signal)
  const third = admission.acquire(needs({ memoryBytes: GB }), signal)
  await vi.waitFor(() => { expect(admission.problem).toBe('0.0 GB of memory free, 1.0 GB needed') })
  place[Symbol.dispose]()
  free += taken
  await third
})

test('a template that is to be made takes memory besides, until it is seen there', async () => {
  const admission = createAdmission({ readRoom: () => room({ memoryFreeBytes: 6 * GB }), rules: RULES })
  const first = await admission.acquire(needs({ templateBytes: 2 * GB }), signal)
  const second = admission.acquire(needs(), signal)
  await vi.waitFor(() => { expect(admission.problem).toBe('1.0 GB of memory free, 2.0 GB needed') })
  first.templateMade()
  await second
})

test('what this host could never place is refused at once', async () => {
  const admission = createAdmission({ readRoom: () => room(), rules: RULES })
  await expect(admission.acquire(needs({ memoryBytes: 9 * GB }), signal)).rejects.toMatchObject({ code: 'vm_too_large', details: { problem: '8.0 GB of memory free, 9.0 GB needed' } })
  await expect(admission.acquire(needs({ cores: 9 }), signal)).rejects.toMatchObject({ code: 'vm_too_large' })
})

test('memory that is short is asked back once from what only waits, and room from elsewhere is found', async () => {
  let free = 2 * GB
  let relieved = 0
  const admission = createAdmission({ readRoom: () => room({ memoryFreeBytes: free }), rules: RULES, lookAgainMs: 5, relieve: async () => { relieved += 1 } })
  const asked = admission.acquire(needs(), signal)
  await vi.waitFor(() => { expect(relieved).toBe(1) })
  free = 3 * GB
  await asked
  expect(relieved).toBe(1)
})

test('what is promised nothing has room on a host that has less than its reserve', async () => {
  const admission = createAdmission({ readRoom: () => room({ memoryFreeBytes: GB / 2, scratchFreeBytes: 0 }), rules: RULES })
  const nothing = { memoryBytes: 0, cores: 0, scratchBytes: 0, templateBytes: 0 }
  await admission.untilRoom(nothing, signal)
  await admission.acquire(nothing, signal)
})

test('work is not asked for while somebody waits for room, nor without room', async () => {
  const admission = createAdmission({ readRoom: () => room(), rules: RULES })
  const place = await admission.acquire(needs({ memoryBytes: 6 * GB }), signal)
  const big = admission.acquire(needs({ memoryBytes: 4 * GB }), signal)
  let asks = false
  const claiming = admission.untilRoom(needs({ memoryBytes: GB }), signal).then(() => { asks = true })
  await vi.waitFor(() => { expect(admission.problem).not.toBeNull() })
  expect(asks).toBe(false)
  place[Symbol.dispose]()
  await big
  await claiming
})

type Step = { kind: 'request'; needs: Needs } | { kind: 'release'; which: number } | { kind: 'abandon'; which: number } | { kind: 'grow'; which: number; bytes: number }
const amount = (most: number) => fc.integer({ min: 1, max: most })
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('request' as const), needs: fc.record({ memoryBytes: amount(8).map((n) => n * GB), cores: fc.double({ min: 0.1, max: 8, noNaN: true }), scratchBytes: amount(100).map((n) => n * GB), templateBytes: fc.constantFrom(0, 0, GB) }) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('release' as const), which: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('abandon' as const), which: fc.nat(20) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('grow' as const), which: fc.nat(20), bytes: amount(4).map((n) => n * GB) }) },
)

test('whatever is asked for, released, abandoned and taken, and in whatever order: never above the limits, served in turn, all served in the end', async () => {
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), async (steps) => {
    const running: { number: number; needs: Needs; place: Place; taken: number }[] = []
    const total = () => running.reduce((sum, { taken }) => sum + taken, 0)
    const admission = createAdmission({ readRoom: () => room({ memoryFreeBytes: 9 * GB - total() }), rules: RULES, lookAgainMs: 60_000 })
    const waiting = new Map<number, AbortController>()
    const served: number[] = []
    let [number, abandoned] = [0, 0]
    const check = () => {
      const sum = (what: keyof Needs) => running.reduce((all, each) => all + each.needs[what], 0)
      expect(sum('memoryBytes') + sum('templateBytes')).toBeLessThanOrEqual(8 * GB)
      expect(sum('templateBytes')).toBeLessThanOrEqual(4 * GB)
      expect(sum('cores')).toBeLessThanOrEqual(8 + 1e-6)
      expect(sum('scratchBytes')).toBeLessThanOrEqual(100 * GB)
      expect(served).toEqual(served.toSorted((a, b) => a - b))
    }
    for (const each of steps) {
      if (each.kind === 'request') {
        const [own, control] = [++number, new AbortController()]
        waiting.set(own, control)
        admission.acquire(each.needs, control.signal).then((place) => {
          waiting.delete(own)
          served.push(own)
          const entry = { number: own, needs: each.needs, place, taken: 0 }
          place.occupy(async () => ({ privateBytes: entry.taken, scratchBytes: 0 }))
          running.push(entry)
        }, () => {
          waiting.delete(own)
          abandoned += 1
        })
      } else if (each.kind === 'abandon') [...waiting.values()][each.which]?.abort(new Error('abandoned'))
      else if (each.kind === 'release') running.splice(each.which % Math.max(1, running.length), 1)[0]?.place[Symbol.dispose]()
      else {
        const entry = running[each.which % Math.max(1, running.length)]
        if (entry) entry.taken = Math.min(entry.needs.memoryBytes, entry.taken + each.bytes)
      }
      await turn()
      check()
    }
    while (running.length > 0 || waiting.size > 0) {
      // Whoever is left waits only for others that run.
      expect(running.length).toBeGreaterThan(0)
      running.shift()?.place[Symbol.dispose]()
      await turn()
      check()
    }
    expect(served.length + abandoned).toBe(number)
    expect(admission.problem).toBeNull()
  }), { numRuns: 200 })
})

test('the cgroups of memory are found, whatever the version: the own one and all above', () => {
  expect(memoryGroups('0::/user.slice/swarm.service\n')).toEqual(['/sys/fs/cgroup/user.slice/swarm.service', '/sys/fs/cgroup/user.slice', '/sys/fs/cgroup/'])
  expect(memoryGroups('9:name=systemd:/\n4:memory:/jobs/a\n0::/\n')).toEqual(['/sys/fs/cgroup/memory/jobs/a', '/sys/fs/cgroup/memory/jobs', '/sys/fs/cgroup/memory/'])
  expect(memoryGroups('')).toEqual([])
})

test('this host has room, and not more than it has', () => {
  const here = readHostRoom({ scratch: '/tmp', templates: '/tmp' })
  expect(here.memoryFreeBytes).toBeGreaterThan(0)
  expect(here.memoryFreeBytes).toBeLessThanOrEqual(here.memoryTotalBytes)
  expect(here.cores).toBeGreaterThanOrEqual(1)
  expect(here.scratchFreeBytes).toBeLessThanOrEqual(here.scratchTotalBytes)
})
