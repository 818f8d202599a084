import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { planWave } from './fleet.ts'
import { FAULT_KIND_NAMES, scheduleFaults, trackOf } from './schedule.ts'

const seed = fc.integer({ min: 0, max: 2 ** 31 })
const leaseTtlMs = 4_000

describe('the schedule of faults', () => {
  test('is a pure function of the seed: same seed, same kinds, times and targets', () => {
    fc.assert(fc.property(seed, fc.integer({ min: 1, max: 300 }), (number, seconds) => {
      const options = { seed: number, seconds, leaseTtlMs }
      expect(scheduleFaults(options)).toEqual(scheduleFaults(options))
    }), { numRuns: 50 })
  })

  test('a longer run of a seed begins like a shorter one', () => {
    fc.assert(fc.property(seed, (number) => {
      const short = scheduleFaults({ seed: number, seconds: 20, leaseTtlMs })
      expect(scheduleFaults({ seed: number, seconds: 60, leaseTtlMs }).slice(0, short.length)).toEqual(short)
    }), { numRuns: 50 })
  })

  test('is in order of time, within the run, and lets no two faults of one track overlap', () => {
    fc.assert(fc.property(seed, (number) => {
      const faults = scheduleFaults({ seed: number, seconds: 120, leaseTtlMs })
      expect(faults.map(({ atMs }) => atMs)).toEqual(faults.map(({ atMs }) => atMs).toSorted((a, b) => a - b))
      expect(faults.at(-1)!.atMs).toBeLessThan(120_000)
      const freeAt = new Map<string, number>()
      for (const { kind, atMs, forMs } of faults) {
        expect(atMs).toBeGreaterThanOrEqual(freeAt.get(trackOf(kind)) ?? 0)
        freeAt.set(trackOf(kind), atMs + forMs)
      }
    }), { numRuns: 50 })
  })

  test('has every kind within a few minutes, stops shorter and longer than the lease among them', () => {
    fc.assert(fc.property(seed, (number) => {
      const faults = scheduleFaults({ seed: number, seconds: 400, leaseTtlMs })
      expect(new Set(faults.map(({ kind }) => kind))).toEqual(new Set(FAULT_KIND_NAMES))
      for (const { kind, forMs } of faults) {
        if (kind.endsWith('-stop-short')) expect(forMs).toBeLessThan(leaseTtlMs)
        if (kind.endsWith('-stop-long')) expect(forMs).toBeGreaterThan(leaseTtlMs)
      }
    }), { numRuns: 30 })
  })

  test('leaves out the kinds that cannot be done', () => {
    expect(scheduleFaults({ seed: 1, seconds: 120, leaseTtlMs, kinds: ['link-cut', 'vm-kill'] }).map(({ kind }) => kind)).toEqual(expect.arrayContaining(['link-cut', 'vm-kill']))
    expect(scheduleFaults({ seed: 1, seconds: 120, leaseTtlMs, kinds: FAULT_KIND_NAMES.filter((kind) => kind !== 'disk-full') }).some(({ kind }) => kind === 'disk-full')).toBe(false)
    expect(scheduleFaults({ seed: 1, seconds: 120, leaseTtlMs, kinds: [] })).toEqual([])
  })
})

test('the fleet is a pure function of the seed, and its tickets depend only on earlier ones of their wave', () => {
  fc.assert(fc.property(seed, fc.integer({ min: 0, max: 100 }), (number, wave) => {
    const tickets = planWave(number, wave, 5)
    expect(planWave(number, wave, 5)).toEqual(tickets)
    tickets.forEach(({ after }, place) => { for (const parent of after) expect(parent).toBeLessThan(place) })
  }))
})
