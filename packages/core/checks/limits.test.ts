import fc from 'fast-check'
import { expect, test } from 'vitest'
import { tightestLimits, type WorkLimits } from './limits.ts'

const DEFAULTS: WorkLimits = { cpu: 1, memoryMb: 1024, diskMb: 2048, minutes: 30, egressBytes: 1e9, pids: 512, outputBytes: 1e9 }

test('a limit that nobody states is the default, one that somebody states may be above it, and of several the tightest holds', () => {
  const [repository, agent, project, host] = [{ memoryMb: 4096, cpu: 2 }, { memoryMb: 2048, pids: 100 }, { memoryMb: 3000, egressBytes: undefined }, {}]
  expect(tightestLimits(DEFAULTS, repository, agent, project, host)).toEqual({ ...DEFAULTS, cpu: 2, memoryMb: 2048, pids: 100 })
})

test('nobody can loosen what another one states, in whatever order they come', () => {
  const limits = fc.record(Object.fromEntries(Object.keys(DEFAULTS).map((name) => [name, fc.option(fc.integer({ min: 1 }), { nil: undefined })])))
  fc.assert(fc.property(fc.array(limits, { minLength: 1, maxLength: 4 }), (stated) => {
    const effective = tightestLimits(DEFAULTS, ...stated)
    expect(tightestLimits(DEFAULTS, ...stated.toReversed())).toEqual(effective)
    for (const each of stated) for (const [name, value] of Object.entries(each)) if (value !== undefined) expect(effective[name as keyof WorkLimits]).toBeLessThanOrEqual(value)
  }))
})
