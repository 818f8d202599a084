import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { basisOf, calibrationOf, compared, estimateBuild, LEAST_HISTORY, PRIOR, rangeOf, type Basis, type PlannedWork, type TicketRecord } from './estimate.ts'

const record = (over: Partial<TicketRecord> = {}): TicketRecord => ({ storyPoints: 2, tokens: 1_000, microUsd: 400, workMs: 60_000, ...over })
const prior: Basis = { source: 'prior', count: 0, perPoint: PRIOR }
/** Plans whose tickets wait for earlier ones only, as every sound plan can be written. */
const plans = fc.array(fc.record({ storyPoints: fc.integer({ min: 1, max: 13 }), waits: fc.array(fc.nat(), { maxLength: 4 }) }), { minLength: 1, maxLength: 25 })
  .map((tickets): PlannedWork[] => tickets.map(({ storyPoints, waits }, index) => ({ key: `t${index}`, storyPoints, dependsOn: index === 0 ? [] : [...new Set(waits.map((at) => `t${at % index}`))] })))
const records = fc.array(fc.record({ storyPoints: fc.integer({ min: 0, max: 13 }), tokens: fc.nat(1e7), microUsd: fc.nat(1e8), workMs: fc.nat(1e8) }), { maxLength: 30 })

describe('an estimate', () => {
  it('has ranges in order, a critical path between the largest ticket and the whole, and no less time than that path', () => {
    fc.assert(fc.property(plans, records, records, fc.integer({ min: 1, max: 20 }), (work, project, all, concurrency) => {
      const estimate = estimateBuild(work, basisOf(project, all), concurrency)
      for (const range of [estimate.tokens, estimate.microUsd, estimate.workMs, estimate.elapsedMs, estimate.criticalPath.workMs]) {
        expect(range.low).toBeLessThanOrEqual(range.middle)
        expect(range.middle).toBeLessThanOrEqual(range.high)
        expect(range.low).toBeGreaterThanOrEqual(0)
      }
      const points = work.map(({ storyPoints }) => storyPoints)
      expect(estimate.criticalPath.storyPoints).toBeGreaterThanOrEqual(Math.max(...points))
      expect(estimate.criticalPath.storyPoints).toBeLessThanOrEqual(points.reduce((sum, each) => sum + each, 0))
      expect(estimate.criticalPath.tickets.reduce((sum, key) => sum + (work.find((ticket) => ticket.key === key)?.storyPoints ?? 0), 0)).toBe(estimate.criticalPath.storyPoints)
      for (const side of ['low', 'middle', 'high'] as const) {
        expect(estimate.elapsedMs[side]).toBeGreaterThanOrEqual(estimate.criticalPath.workMs[side])
        expect(estimate.elapsedMs[side]).toBeLessThanOrEqual(estimate.workMs[side])
      }
    }))
  })

  it('never gets cheaper or faster by another ticket', () => {
    fc.assert(fc.property(plans, records, fc.integer({ min: 1, max: 20 }), (work, project, concurrency) => {
      const basis = basisOf(project, [])
      const [fewer, more] = [estimateBuild(work.slice(0, -1), basis, concurrency), estimateBuild(work, basis, concurrency)]
      for (const measure of ['tokens', 'microUsd', 'workMs', 'elapsedMs'] as const) for (const side of ['low', 'middle', 'high'] as const) expect(more[measure][side]).toBeGreaterThanOrEqual(fewer[measure][side])
      expect(more.vms.least).toBeGreaterThan(fewer.vms.least)
      expect(more.vms.atOnce).toBeGreaterThanOrEqual(fewer.vms.atOnce)
      expect(more.criticalPath.storyPoints).toBeGreaterThanOrEqual(fewer.criticalPath.storyPoints)
    }))
  })

  it('knows the most tickets that can run at once, in other waves too, and is held by the concurrency of the project', () => {
    // b and its successor c stand in different waves, and so do a and c; still three run at once: a, c and d.
    const work: PlannedWork[] = [{ key: 'a', storyPoints: 8, dependsOn: [] }, { key: 'b', storyPoints: 1, dependsOn: [] }, { key: 'c', storyPoints: 1, dependsOn: ['b'] }, { key: 'd', storyPoints: 1, dependsOn: ['b'] }]
    expect(estimateBuild(work, prior, 8)).toMatchObject({ tickets: 4, waves: 2, storyPoints: 11, vms: { least: 12, width: 3, atOnce: 3 }, criticalPath: { tickets: ['a'], storyPoints: 8 } })
    expect(estimateBuild(work, prior, 2).vms).toEqual({ least: 12, width: 3, atOnce: 2 })
    expect(estimateBuild([], prior, 2)).toMatchObject({ tickets: 0, vms: { least: 0, atOnce: 0 }, tokens: { low: 0, high: 0 } })
  })

  it('counts a chain of 500 tickets as one at a time', () => {
    const work = Array.from({ length: 500 }, (_, index): PlannedWork => ({ key: `t${index}`, storyPoints: 1, dependsOn: index === 0 ? [] : [`t${index - 1}`] }))
    expect(estimateBuild(work, prior, 8)).toMatchObject({ vms: { width: 1 }, waves: 500, criticalPath: { storyPoints: 500 } })
  })

  it('goes by the project, else by the installation, else by priors that are marked as such', () => {
    const five = Array.from({ length: LEAST_HISTORY }, () => record())
    expect(basisOf(five, [])).toMatchObject({ source: 'project', count: 5, perPoint: { tokens: { low: 500, middle: 500, high: 500 } } })
    expect(basisOf(five.slice(1), five)).toMatchObject({ source: 'installation', count: 5 })
    expect(basisOf(five.slice(1), five.slice(1))).toEqual(prior)
  })

  it('takes the tenth and the ninetieth of a hundred', () => {
    expect(rangeOf(Array.from({ length: 101 }, (_, index) => 100 - index))).toEqual({ low: 10, middle: 50, high: 90 })
    expect(rangeOf([])).toEqual({ low: 0, middle: 0, high: 0 })
  })
})

describe('calibration', () => {
  it('is the middle of what builds took of what was expected', () => {
    const estimated = { tokens: { low: 1, middle: 100, high: 300 }, microUsd: { low: 0, middle: 0, high: 0 }, elapsedMs: { low: 1, middle: 1_000, high: 2_000 } }
    const one = compared(estimated, { tokens: 250, microUsd: 7, elapsedMs: 500 })
    expect(one).toEqual({ tokens: 2.5, microUsd: null, elapsedMs: 0.5 })
    expect(calibrationOf([one, compared(estimated, { tokens: 50, microUsd: 0, elapsedMs: 1_500 }), compared(estimated, { tokens: 100, microUsd: 0, elapsedMs: 3_000 })]))
      .toEqual({ builds: 3, tokens: 1, microUsd: null, elapsedMs: 1.5 })
    expect(calibrationOf([])).toEqual({ builds: 0, tokens: null, microUsd: null, elapsedMs: null })
  })
})
