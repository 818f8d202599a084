import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { joinedPlan, leftBehind, specChanges, touchedBy, type PlanBase } from './changes.ts'
import { findCycles } from './graph.ts'
import type { PlanTicket } from './plan.ts'
import { parseSpec } from './spec.ts'

const spec = (requirements: Record<string, string>, rest = '') => parseSpec(`# T\n\n## Requirements\n${Object.entries(requirements).map(([id, text]) => `- ${id} ${text}`).join('\n')}\n${rest}`)
const ticket = (key: string, requirements: string[], dependsOn: string[] = []): PlanTicket => ({ key, epic: 'core', title: key, description: '', acceptance: ['a'], requirements, scope: ['src/**'], dependsOn, storyPoints: 1, agent: '' })
const base = (tickets: PlanTicket[], started: string[] = []): PlanBase => ({ epics: [{ key: 'core', title: 'Core', requirements: ['R1', 'R2', 'R3'], dependsOn: [] }], tickets, started, taken: [] })

describe('changes of a spec', () => {
  it('are told by requirement, places and prose apart', () => {
    const before = spec({ R1: 'one', R2: 'two', R3: 'three' })
    expect(specChanges(before, spec({ R3: 'three', R2: 'two,  changed', R4: 'four' }, '\n## Background\nProse.'))).toEqual({
      added: [{ id: 'R4', text: 'four' }], changed: [{ id: 'R2', before: 'two', after: 'two,  changed' }], removed: [{ id: 'R1', text: 'one' }], everywhere: [],
    })
    expect(specChanges(before, spec({ R1: 'one', R2: 'two', R3: 'three' }))).toEqual({ added: [], changed: [], removed: [], everywhere: [] })
  })
  it('count the acceptance criteria of a requirement as part of it, and those of the whole as everywhere', () => {
    const before = spec({ R1: 'one', R2: 'two' }, '\n## Acceptance\n- R1: is one\n- the tests pass\n')
    expect(specChanges(before, spec({ R1: 'one', R2: 'two' }, '\n## Acceptance\n- R1: is just one\n- the tests pass\n'))).toMatchObject({ changed: [{ id: 'R1' }], everywhere: [] })
    expect(specChanges(before, spec({ R1: 'one', R2: 'two' }, '\n## Acceptance\n- R1: is one\n'))).toMatchObject({ changed: [], everywhere: ['acceptance'] })
    expect(specChanges(before, spec({ R1: 'one', R2: 'two' }, '\n## Acceptance\n- R1: is one\n- the tests pass\n\n## Constraints\n- no framework\n'))).toMatchObject({ everywhere: ['constraints'] })
  })
})

describe('a plan under a new version', () => {
  const changes = specChanges(spec({ R1: 'one', R2: 'two', R3: 'three' }), spec({ R1: 'one', R2: 'two now', R4: 'four' }))
  it('keeps what the version does not touch, and leaves started tickets as they are', () => {
    const touched = touchedBy(base([ticket('a', ['R1']), ticket('b', ['R2']), ticket('c', ['R3']), ticket('d', ['R1'], ['b'])]), changes, ['R1', 'R2', 'R4'])
    expect(touched).toMatchObject({ kept: [{ key: 'a' }, { key: 'd' }], dropped: [{ key: 'b' }, { key: 'c' }], open: ['R2', 'R4'], epics: [{ requirements: ['R1', 'R2'] }] })
    const started = touchedBy(base([ticket('a', ['R1']), ticket('b', ['R2']), ticket('c', ['R3'])], ['b', 'c']), changes, ['R1', 'R2', 'R4'])
    expect(started).toMatchObject({ kept: [{ key: 'a' }, { key: 'b', requirements: [] }, { key: 'c', requirements: [] }], dropped: [], open: ['R2', 'R4'], outdated: [{ key: 'b', lines: ['b (b) was built for R2: two'] }, { key: 'c', lines: [] }] })
    expect(leftBehind(started, changes)).toMatchObject([{ code: 'removed_but_started', place: ['c', 'R3'] }])
    // A change of it waits for what was built before.
    expect(joinedPlan(started, [ticket('e', ['R2'])]).at(-1)).toMatchObject({ key: 'e', dependsOn: ['b'] })
  })
  it('has those who waited for a dropped ticket wait for its heirs', () => {
    const touched = touchedBy(base([ticket('b', ['R2']), ticket('c', ['R3']), ticket('d', ['R1'], ['b', 'c'])]), changes, ['R1', 'R2', 'R4'])
    expect(joinedPlan(touched, [ticket('b-2', ['R2']), ticket('f', ['R4'])]).map(({ key, dependsOn }) => [key, dependsOn])).toEqual([['d', ['b-2']], ['b-2', []], ['f', []]])
  })
  it('touches every requirement when what holds for everything has changed', () => {
    const everywhere = specChanges(spec({ R1: 'one' }), spec({ R1: 'one' }, '\n## Constraints\n- no framework\n'))
    expect(touchedBy(base([ticket('a', ['R1']), ticket('set-up', [])]), everywhere, ['R1'])).toMatchObject({ kept: [{ key: 'set-up' }], dropped: [{ key: 'a' }], open: ['R1'] })
  })
  it('covers every requirement by what is kept or asked for, and never loses or doubles a started ticket', () => {
    const ids = ['R1', 'R2', 'R3', 'R4', 'R5']
    const version = fc.dictionary(fc.constantFrom(...ids), fc.constantFrom('one', 'two'), { minKeys: 1 })
    const tickets = fc.array(fc.record({ covers: fc.subarray(ids), waits: fc.array(fc.nat(), { maxLength: 3 }), begun: fc.boolean() }), { minLength: 1, maxLength: 8 })
    fc.assert(fc.property(version, version, tickets, (before, after, drawn) => {
      const planned = drawn.map(({ covers, waits }, index) => ticket(`t${index}`, covers.filter((id) => id in before), index === 0 ? [] : [...new Set(waits.map((at) => `t${at % index}`))]))
      // As at work: who is started waits for nobody who is not.
      const begun: string[] = []
      for (const [index, { key, dependsOn }] of planned.entries()) if (drawn[index]?.begun === true && dependsOn.every((parent) => begun.includes(parent))) begun.push(key)
      const requirements = Object.keys(after)
      const touched = touchedBy(base(planned, begun), specChanges(spec(before), spec(after)), requirements)
      const covered = new Set([...touched.kept.flatMap((each) => each.requirements), ...touched.open])
      expect([...covered].sort()).toEqual([...requirements].sort())
      expect(begun.every((key) => touched.kept.some((each) => each.key === key))).toBe(true)
      expect(touched.kept.length + touched.dropped.length).toBe(planned.length)
      const joined = joinedPlan(touched, touched.open.map((id) => ticket(`new-${id}`, [id])))
      const keys = new Set(joined.map(({ key }) => key))
      expect(joined.every((each) => each.dependsOn.every((key) => keys.has(key)))).toBe(true)
      expect(findCycles(joined.filter(({ key }) => begun.includes(key)))).toEqual([])
    }))
  })
})
