import { describe, expect, it } from 'vitest'
import { createBreaker } from './breaker.ts'

describe('the circuit breaker', () => {
  const never = new AbortController().signal
  /** A clock that moves when it is told to. */
  function makeClock() {
    let now = 0
    const sleepers: Array<{ at: number; wake: () => void }> = []
    const turn = (): Promise<void> => new Promise((resolve) => { setImmediate(resolve) })
    return {
      now: () => now,
      sleep: (ms: number, signal: AbortSignal) => new Promise<void>((resolve, reject) => {
        sleepers.push({ at: now + ms, wake: resolve })
        signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      }),
      async advance(ms: number) {
        now += ms
        for (const sleeper of sleepers) if (sleeper.at <= now) sleeper.wake()
        await turn()
      },
    }
  }
  async function settled(promise: Promise<unknown>): Promise<boolean> {
    const pending = Symbol('pending')
    return await Promise.race([promise.then(() => true), new Promise((resolve) => { setImmediate(resolve, pending) })]) !== pending
  }

  it('holds every call for as long as one was told to wait by Retry-After', async () => {
    const clock = makeClock()
    const breaker = createBreaker(clock)
    breaker.failed(3_000)
    const other = breaker.pass(never)
    await clock.advance(2_999)
    expect(await settled(other)).toBe(false)
    await clock.advance(1)
    expect(await settled(other)).toBe(true)
  })

  it('opens after five failures in a row, then lets one call probe, and all others when it was answered', async () => {
    const clock = makeClock()
    const breaker = createBreaker(clock)
    for (let i = 0; i < 5; i++) breaker.failed(null)
    const calls = [breaker.pass(never), breaker.pass(never), breaker.pass(never)]
    await clock.advance(10_000)
    expect(await Promise.all(calls.map(settled))).toEqual([true, false, false])
    breaker.answered()
    expect(await Promise.all(calls.map(settled))).toEqual([true, true, true])
  })

  it('stays open when the probe fails, and closes again after any answer', async () => {
    const clock = makeClock()
    const breaker = createBreaker(clock)
    for (let i = 0; i < 5; i++) breaker.failed(null)
    const [probe, other] = [breaker.pass(never), breaker.pass(never)]
    await clock.advance(10_000)
    await probe
    breaker.failed(null)
    expect(await settled(other)).toBe(false)
    await clock.advance(10_000)
    expect(await settled(other)).toBe(true)
    breaker.answered()
    expect(await settled(breaker.pass(never))).toBe(true)
  })

  it('lets a caller go who gives up', async () => {
    const clock = makeClock()
    const breaker = createBreaker(clock)
    breaker.failed(60_000)
    const caller = new AbortController()
    const waiting = breaker.pass(caller.signal)
    caller.abort()
    await expect(waiting).rejects.toThrow()
  })
})
