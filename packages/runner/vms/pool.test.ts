import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Template } from '../drivers/driver.ts'
import { createSlotPool, wantedProcesses } from './pool.ts'

const MINUTE = 60_000
const template = (key: string): Template => ({ key, image: null, size: { vcpus: 1, memoryMb: 512, scratchMb: 64 }, directory: '/nowhere', builtAtMs: 0 })
const A = template('a')

/** A host whose processes start at once, and of which is counted what runs. */
function host(options: { most?: number; startsAtOnce?: number; mayGrow?: () => boolean; start?: () => Promise<void> } = {}) {
  const alive = new Set<{ number: number; gone: PromiseWithResolvers<void> }>()
  const [idle, notices]: [string[], string[]] = [[], []]
  let started = 0
  let [now, most] = [0, 0]
  const pool = createSlotPool({
    async start() {
      most = Math.max(most, ++now)
      await (options.start?.() ?? Promise.resolve()).finally(() => { now -= 1 })
      const slot = { number: ++started, gone: Promise.withResolvers<void>() }
      alive.add(slot)
      return slot
    },
    async end(slot) { alive.delete(slot) },
    gone: (slot) => slot.gone.promise,
    most: options.most ?? 8, startsAtOnce: options.startsAtOnce ?? 2, ...(options.mayGrow === undefined ? {} : { mayGrow: options.mayGrow }),
    onIdleTemplate: async ({ key }) => { idle.push(key) },
    onNotice: (notice) => { notices.push(notice) },
  })
  /** Since this was asked last. */
  const startedAtOnce = () => {
    const seen = most
    most = now
    return seen
  }
  return { pool, alive, idle, notices, startedAtOnce }
}
const turn = () => vi.advanceTimersByTimeAsync(0)

beforeEach(() => { vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }) })
afterEach(() => { vi.useRealTimers() })

test('one process waits for a template from its first use on; after five minutes without use none does', async () => {
  const { pool, alive } = host()
  await using _pool = pool
  pool.use(A)
  await turn()
  expect([pool.waiting(A), alive.size]).toEqual([1, 1])
  await vi.advanceTimersByTimeAsync(5 * MINUTE + 2)
  expect([pool.waiting(A), alive.size]).toEqual([0, 0])
})

test('as many wait as were taken in a burst, and fewer again when bursts stay away', async () => {
  const { pool } = host()
  await using _pool = pool
  for (let n = 0; n < 5; n++) {
    await pool.take(A)
    pool.replenish(A)
    await turn()
  }
  await turn()
  expect(pool.waiting(A)).toBe(5)
  for (let minute = 0; minute < 6; minute++) {
    await vi.advanceTimersByTimeAsync(MINUTE)
    await pool.take(A)
    pool.replenish(A)
    await turn()
  }
  expect(pool.waiting(A)).toBe(1)
})

test('no more wait than may, over all templates, and no more are started at once than may', async () => {
  const { pool, startedAtOnce } = host({ most: 3, startsAtOnce: 2, start: () => new Promise((resolve) => setTimeout(resolve, 100)) })
  await using _pool = pool
  const taken = Promise.all(['a', 'b'].flatMap((key) => Array.from({ length: 4 }, () => pool.take(template(key)))))
  await vi.advanceTimersByTimeAsync(1_000)
  await taken
  expect(startedAtOnce()).toBe(8) // what is asked for is never held back
  for (const key of ['a', 'b']) pool.replenish(template(key))
  await vi.advanceTimersByTimeAsync(1_000)
  expect(pool.waiting(template('a')) + pool.waiting(template('b'))).toBe(3)
  expect(startedAtOnce()).toBe(2)
})

test('nothing is started ahead of demand while the host has no memory for it, and what waits can be let go for work', async () => {
  let room = true
  const { pool, alive } = host({ mayGrow: () => room })
  await using _pool = pool
  pool.use(A)
  await turn()
  await pool.trim()
  expect(alive.size).toBe(0)
  room = false
  pool.use(A)
  await turn()
  expect(pool.waiting(A)).toBe(0)
  await pool.take(A)
  expect(alive.size).toBe(1)
})

test('one that ends while it waits is replaced, and nobody is given it', async () => {
  const { pool, alive, notices } = host()
  await using _pool = pool
  pool.use(A)
  await turn()
  const [first] = alive
  first?.gone.resolve()
  await turn()
  expect(notices).toEqual(['a waiting microVM has ended, and is replaced'])
  expect((await pool.take(A)).number).toBe(2)
})

test('a start that fails is tried again only when the template is used again', async () => {
  let broken = true
  const { pool, notices } = host({ start: async () => { if (broken) throw new Error('no disk') } })
  await using _pool = pool
  pool.use(A)
  await turn()
  await vi.advanceTimersByTimeAsync(MINUTE)
  expect(notices).toEqual(['a waiting microVM could not be started: no disk'])
  await expect(pool.take(A)).rejects.toThrow('no disk')
  broken = false
  pool.use(A)
  await turn()
  expect(pool.waiting(A)).toBe(1)
})

test('a template that nothing used for half an hour is let go, once', async () => {
  const { pool, idle } = host()
  await using _pool = pool
  pool.use(A)
  await vi.advanceTimersByTimeAsync(20 * MINUTE)
  await pool.take(A)
  pool.replenish(A)
  await vi.advanceTimersByTimeAsync(29 * MINUTE)
  expect(idle).toEqual([])
  await vi.advanceTimersByTimeAsync(2 * MINUTE)
  expect(idle).toEqual(['a'])
  await vi.advanceTimersByTimeAsync(60 * MINUTE)
  expect(idle).toEqual(['a'])
})

test.each([0, 8])('what is warmed on request waits whatever the demand, is taken, and is not replaced beyond it, where %i may wait', async (most) => {
  const { pool } = host({ most })
  await using _pool = pool
  await pool.prewarm(A, 4)
  expect(pool.waiting(A)).toBe(4)
  await pool.take(A)
  pool.replenish(A)
  await turn()
  expect(pool.waiting(A)).toBe(3)
})

test.each([
  ['none for what was never used', [], -6 * MINUTE, 0], ['one after a first use', [], 0, 1], ['the largest burst', [-100_000, -99_000, -98_000, -1_000], -1_000, 3],
  ['one when they came apart', [-100_000, -90_000, -80_000], -80_000, 1],
])('the demand is %s', (_name, takes, usedAtMs, wanted) => {
  expect(wantedProcesses(takes, usedAtMs, 0)).toBe(wanted)
})
