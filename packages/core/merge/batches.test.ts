import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { nextMembers, refusalToLand, suspectsOf, type LandingFacts } from './batches.ts'

const entry = (n: number) => ({ changeId: `CHG-${n}`, headSha: `head-${n}` })
const entries = (count: number) => Array.from({ length: count }, (_, n) => entry(n))

describe('the next batch', () => {
  test('holds as many as it may, in order', () => {
    expect(nextMembers(entries(5), [], 3)).toEqual(entries(3))
    expect(nextMembers(entries(2), [], 8)).toEqual(entries(2))
  })

  test('holds the first half of what is left of a red batch, and nobody else', () => {
    const red = [entry(1), entry(3), entry(5)]
    expect(nextMembers(entries(8), red, 8)).toEqual([entry(1), entry(3)])
    expect(nextMembers([entry(0), entry(5), entry(6)], red, 8)).toEqual([entry(5)])
  })

  test('is an ordinary one again when the red one had one member, or none of it waits with the same head', () => {
    expect(nextMembers(entries(3), [entry(1)], 8)).toEqual(entries(3))
    expect(nextMembers(entries(3), [{ changeId: 'CHG-1', headSha: 'older' }, { changeId: 'CHG-9', headSha: 'head-9' }], 8)).toEqual(entries(3))
    expect(suspectsOf(entries(3), [entry(8), entry(9)])).toEqual([])
  })

  test('finds one guilty change among n in at most 2 + log2(n) runs, and lets all others through', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 64 }).chain((count) => fc.record({ count: fc.constant(count), guilty: fc.integer({ min: 0, max: count - 1 }) })), ({ count, guilty }) => {
      let waiting = entries(count)
      let red: typeof waiting = []
      let runs = 0
      for (let found = false; !found; runs++) {
        const members = nextMembers(waiting, red, 64)
        expect(members.length).toBeGreaterThan(0)
        if (!members.some((member) => member.changeId === `CHG-${guilty}`)) {
          waiting = waiting.filter((each) => !members.includes(each))
          continue
        }
        red = members
        found = members.length === 1
      }
      expect(runs).toBeLessThanOrEqual(2 + Math.ceil(Math.log2(count)))
    }))
  })
})

describe('a change lands', () => {
  const facts: LandingFacts = { headSha: 'h', ticketState: 'merging', change: { id: 'CHG-1', state: 'open', headSha: 'h' }, approval: { status: 'approved', changeId: 'CHG-1', headSha: 'h' } }
  test('as what its approval showed, while its ticket is being merged', () => {
    expect(refusalToLand(facts)).toBeNull()
  })
  test.each([
    ['its ticket was held', { ticketState: 'on_hold' }, 'left'],
    ['it has another head by now', { change: { id: 'CHG-1', state: 'open', headSha: 'i' } }, 'not_approved'],
    ['it was closed', { change: { id: 'CHG-1', state: 'closed', headSha: 'h' } }, 'not_approved'],
    ['nobody approved it', { approval: null }, 'not_approved'],
    ['it was rejected', { approval: { status: 'rejected', changeId: 'CHG-1', headSha: 'h' } }, 'not_approved'],
    ['the approval was for another head', { approval: { status: 'approved', changeId: 'CHG-1', headSha: 'g' } }, 'not_approved'],
    ['the approval was for another change', { approval: { status: 'approved', changeId: 'CHG-2', headSha: 'h' } }, 'not_approved'],
  ] as const)('but not when %s', (_, change, kind) => {
    expect(refusalToLand({ ...facts, ...change })).toMatchObject({ kind })
  })
})
