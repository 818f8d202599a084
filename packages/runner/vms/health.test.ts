import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { watchHealth } from './health.ts'

/** A microVM whose signs of life are set by hand; its VMM uses and waits for these shares of a core. */
function microVm(given: { answers?: boolean; uses?: number; waits?: number; cores?: number } = {}) {
  const state = { answers: true, vmm: 'running' as string | null, uses: 0.03, waits: 0, cores: 1, ...given }
  let [at, usedMs, busyMs] = [performance.now(), 0, 0]
  const ends: string[] = []
  const watching = watchHealth({
    ping: () => new Promise((resolve) => { if (state.answers) resolve() }),
    vmmState: () => new Promise((resolve) => { if (state.vmm !== null) resolve(state.vmm) }),
    cpu() {
      const now = performance.now()
      usedMs += (now - at) * state.uses
      busyMs += (now - at) * (state.uses / Math.max(1, state.cores) + state.waits)
      at = now
      return { usedMs, busyMs: new Map([['1', busyMs], ['2', 0]]) }
    },
  }, { cores: state.cores, onStuck: (detail) => { ends.push(detail) } })
  return { state, ends, [Symbol.dispose]: () => { watching[Symbol.dispose]() } }
}
const seconds = (count: number) => vi.advanceTimersByTimeAsync(count * 1_000)

beforeEach(() => { vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }) })
afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
})

test('a guest that answers is well, however long', async () => {
  using vm = microVm()
  await seconds(3_600)
  expect(vm.ends).toEqual([])
})

test('a guest that answers no more while its VMM is idle is stuck within 40 s, and this is said once', async () => {
  using vm = microVm()
  await seconds(60)
  vm.state.answers = false
  await seconds(40)
  expect(vm.ends).toEqual(['its guest gave no sign of life for 30 s, while the host had CPU for it'])
  await seconds(600)
  expect(vm.ends).toHaveLength(1)
})

test('a VMM that does not answer is stuck', async () => {
  using vm = microVm()
  Object.assign(vm.state, { vmm: null, uses: 0 })
  await seconds(40)
  expect(vm.ends).toEqual(['its VMM did not answer for 30 s, while the host had CPU for it'])
})

test.each([
  ['it waits for a CPU that others have', { uses: 0.1, waits: 0.85 }], ['one of its two virtual CPUs waits', { uses: 0.1, waits: 0.85, cores: 2 }], ['it uses all that it may', { uses: 0.09, cores: 0.1 }],
])('a guest whose answer is late is merely slow while %s, for ten minutes', async (_why, load) => {
  using vm = microVm({ answers: false, ...load })
  await seconds(590)
  expect(vm.ends).toEqual([])
  await seconds(30)
  expect(vm.ends).toEqual(['its guest gave no sign of life for 10 minutes'])
})

test('a guest that had two minutes of CPU time and did not answer in it is stuck, however busy', async () => {
  using vm = microVm({ answers: false, uses: 1 })
  await seconds(135)
  expect(vm.ends).toEqual(['its guest gave no sign of life in 120 s of CPU time'])
})

test('beats that this process came late to do not count', async () => {
  // Time passes in which no timer fires, as when this process was stopped.
  let stoppedMs = 0
  const now = performance.now.bind(performance)
  vi.spyOn(performance, 'now').mockImplementation(() => now() + stoppedMs)
  using vm = microVm()
  vm.state.answers = false
  for (let beat = 0; beat < 20; beat++) {
    stoppedMs += 7_000
    await seconds(5)
  }
  expect(vm.ends).toEqual([])
})

test('a guest that stands still since somebody paused it is not stuck, and is watched again when it goes on', async () => {
  using vm = microVm()
  vm.state.answers = false
  await seconds(25) // most of what makes it stuck
  Object.assign(vm.state, { vmm: 'paused', uses: 0 })
  await seconds(600)
  vm.state.vmm = 'running'
  await seconds(25)
  expect(vm.ends).toEqual([])
  await seconds(20)
  expect(vm.ends).toHaveLength(1)
})

test('a VMM that has stopped its guest for a fault is stuck at the next beat, with its own word', async () => {
  using vm = microVm()
  vm.state.vmm = 'io-error'
  await seconds(6)
  expect(vm.ends).toEqual(['its VMM has stopped it: io-error'])
})
