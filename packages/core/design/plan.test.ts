import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DomainError } from '../errors.ts'
import { footprint, patternsOverlap, scopeProblem } from './globs.ts'
import { findCycles, wavesOf } from './graph.ts'
import { checkPlan, type Epic, type PlanTicket, skeletonFindings } from './plan.ts'

const ticket = (key: string, over: Partial<PlanTicket> = {}): PlanTicket => ({
  key, epic: 'e', title: key, description: '', acceptance: ['it works'], requirements: ['R1'], scope: [`src/${key}.js`], dependsOn: [], storyPoints: 1, agent: '', ...over,
})
const epic = (key: string, over: Partial<Epic> = {}): Epic => ({ key, title: key, requirements: ['R1'], dependsOn: [], ...over })
const facts = { requirements: ['R1'], greenfield: false }
const codes = (tickets: readonly PlanTicket[], over: Partial<Parameters<typeof checkPlan>[2]> = {}): string[] =>
  checkPlan(tickets, [epic('e')], { ...facts, ...over }).findings.map((finding) => finding.code)

describe('a dependency graph', () => {
  it('names a cycle by its path', () => {
    expect(findCycles([{ key: 'x', dependsOn: ['a'] }, { key: 'a', dependsOn: ['b'] }, { key: 'b', dependsOn: ['c', 'a'] }, { key: 'c', dependsOn: [] }])).toEqual([['a', 'b', 'a']])
    expect(() => wavesOf([{ key: 'a', dependsOn: ['b'] }, { key: 'b', dependsOn: ['a'] }])).toThrow(new DomainError('dependency_cycle', { cycle: 'a → b → a' }))
  })
  it('names each of several knots once', () => {
    expect(findCycles([{ key: 'a', dependsOn: ['b'] }, { key: 'b', dependsOn: ['a'] }, { key: 'c', dependsOn: ['d', 'a'] }, { key: 'd', dependsOn: ['e'] }, { key: 'e', dependsOn: ['c'] }]))
      .toEqual([['a', 'b', 'a'], ['c', 'd', 'e', 'c']])
  })
  it('of ten thousand in one chain does not overflow', () => {
    const chain = Array.from({ length: 10_000 }, (_, index) => ({ key: `k${index}`, dependsOn: index === 0 ? [] : [`k${index - 1}`] }))
    expect(findCycles(chain)).toEqual([])
    expect(wavesOf(chain)).toHaveLength(10_000)
    expect(findCycles([...chain.slice(1), { key: 'k0', dependsOn: ['k9999'] }])[0]).toHaveLength(10_001)
  })
  it('has waves exactly if it has no cycle, and each edge leads to an earlier wave', () => {
    const graph = fc.integer({ min: 1, max: 12 }).chain((size) => fc.array(fc.tuple(fc.nat(size - 1), fc.nat(size - 1)), { maxLength: 20 }).map((edges) =>
      Array.from({ length: size }, (_, index) => ({ key: `k${index}`, dependsOn: edges.filter(([from]) => from === index).map(([, to]) => `k${to}`) }))))
    fc.assert(fc.property(graph, (nodes) => {
      const cycles = findCycles(nodes)
      for (const cycle of cycles) {
        expect(cycle.at(0)).toBe(cycle.at(-1))
        for (const [index, key] of cycle.slice(0, -1).entries()) expect(nodes.find((node) => node.key === key)?.dependsOn).toContain(cycle[index + 1])
      }
      if (cycles.length > 0) {
        expect(() => wavesOf(nodes)).toThrow(DomainError)
        return
      }
      const waves = wavesOf(nodes)
      const wave = new Map(waves.flatMap((keys, index) => keys.map((key) => [key, index] as const)))
      expect(wave.size).toBe(nodes.length)
      for (const node of nodes) expect(wave.get(node.key)).toBe(Math.max(-1, ...node.dependsOn.map((key) => wave.get(key) ?? -1)) + 1)
    }))
  })
})

describe('scopes', () => {
  it.each([
    ['src/a.js', 'src/a.js', true], ['src/a.js', 'src/b.js', false], ['src/**', 'src/ui/x.js', true], ['src/*.js', 'src/ui/x.js', false], ['src/*', 'src/ui/x.js', true],
    ['*.js', 'src/ui/x.js', true], ['*.js', '*.css', false], ['src/', 'src/a.js', true], ['/a.js', 'src/a.js', false], ['a.js', 'src/a.js', true], ['**', 'anything', true],
    ['src/**/test/*.js', 'src/test/a.js', true], ['src/a?.js', 'src/ab.js', true], ['src/[ab].js', 'src/a.js', true], ['lib/**', 'src/**', false], ['a/*/c', 'a/b/c/d', true],
  ])('%s and %s meet: %s', (one, two, meet) => {
    expect(patternsOverlap(one, two)).toBe(meet)
    expect(patternsOverlap(two, one)).toBe(meet)
  })
  it('name the files that are expected, wide globs only when nothing else is named', () => {
    expect(footprint(['src/a.js', 'test/**'])).toEqual(['/src/a.js'])
    expect(footprint(['test/**', '!test/x'])).toEqual(['test/**'])
  })
  it.each(['', '/', '../x', 'a/../b', '~/x', 'C:\\x', '.git/config', 'a\nb'])('%j is no scope', (pattern) => { expect(scopeProblem(pattern)).not.toBeNull() })
})

describe('a plan', () => {
  it('that is sound has waves and no finding', () => {
    expect(checkPlan([ticket('a'), ticket('b', { dependsOn: ['a'] }), ticket('c', { dependsOn: ['a'] })], [epic('e')], facts)).toMatchObject({ findings: [], waves: [['a'], ['b', 'c']] })
  })
  it.each<[string, PlanTicket[], string]>([
    ['no ticket', [], 'plan_empty'], ['a key twice', [ticket('a'), ticket('a')], 'duplicate_key'], ['itself as dependency', [ticket('a', { dependsOn: ['a'] })], 'self_dependency'],
    ['an unknown dependency', [ticket('a', { dependsOn: ['z'] })], 'unknown_dependency'], ['an unknown requirement', [ticket('a', { requirements: ['R1', 'R7'] })], 'unknown_requirement'],
    ['an uncovered requirement', [ticket('a', { requirements: [] })], 'requirement_uncovered'], ['no acceptance', [ticket('a', { acceptance: [' '] })], 'ticket_without_acceptance'],
    ['no scope', [ticket('a', { scope: ['!x'] })], 'ticket_without_scope'], ['a scope outside', [ticket('a', { scope: ['../x'] })], 'scope_invalid'],
    ['an oversize ticket', [ticket('a', { storyPoints: 21 })], 'ticket_oversize'], ['an unknown agent', [ticket('a', { agent: 'nobody' })], 'unknown_agent'],
    ['too many tickets', Array.from({ length: 501 }, (_, index) => ticket(`k${index}`)), 'plan_too_large'],
  ])('with %s is given back', (_name, tickets, code) => { expect(codes(tickets, { agents: ['coder'] })).toEqual([code]) })

  it('with a cycle names it and has no waves', () => {
    const checked = checkPlan([ticket('a', { dependsOn: ['b'] }), ticket('b', { dependsOn: ['a'] })], [epic('e')], facts)
    expect(checked.waves).toEqual([])
    expect(checked.findings).toMatchObject([{ code: 'dependency_cycle', severity: 'error', place: ['a', 'b', 'a'], message: 'The dependencies form a cycle: a → b → a.' }])
  })
  it('orders tickets on the same files, with no more edges than needed', () => {
    const shared = { scope: ['src/app.js', 'test/**'] }
    const checked = checkPlan([ticket('a', shared), ticket('b', shared), ticket('c', shared), ticket('d')], [epic('e')], facts)
    expect(checked.tickets.map((each) => each.dependsOn)).toEqual([[], ['a'], ['b'], []])
    expect(checked.findings.map((finding) => [finding.code, finding.severity])).toEqual([['overlap_ordered', 'warning'], ['overlap_ordered', 'warning']])
    expect(checked.findings[0]?.message).toBe('The tickets a and b both write src/app.js: b now waits for a.')
    expect(checked.waves).toEqual([['a', 'd'], ['b'], ['c']])
  })
  it('for a new repository begins with one ticket', () => {
    const checked = checkPlan([ticket('docs'), ticket('base'), ticket('x', { dependsOn: ['base'] })], [epic('e')], { ...facts, greenfield: true })
    expect(checked.waves).toEqual([['base'], ['docs', 'x']])
    expect(checked.findings.map((finding) => finding.code)).toEqual(['skeleton_ordered'])
  })
  it('holds the order of its epics, unless a ticket says it more finely', () => {
    const epics = [epic('one'), epic('two', { dependsOn: ['one'] })]
    const checked = checkPlan([ticket('a', { epic: 'one' }), ticket('b', { epic: 'one', dependsOn: ['a'] }), ticket('c', { epic: 'two' }), ticket('d', { epic: 'two', dependsOn: ['a'] })], epics, facts)
    expect(checked.tickets.map((each) => each.dependsOn)).toEqual([[], ['a'], ['b'], ['a']])
    expect(checked.findings.map((finding) => finding.code)).toEqual(['epic_ordered'])
  })
  it('never gets a cycle from the order that is added, and no two unordered tickets write the same file', () => {
    const plan = fc.integer({ min: 1, max: 10 }).chain((size) => fc.tuple(
      fc.array(fc.tuple(fc.nat(size - 1), fc.nat(size - 1)), { maxLength: 12 }), fc.array(fc.nat(3), { minLength: size, maxLength: size }), fc.array(fc.nat(2), { minLength: size, maxLength: size }), fc.boolean(),
    ).map(([edges, files, epicOf, greenfield]) => ({
      greenfield,
      tickets: files.map((file, index) => ticket(`k${index}`, { scope: [`f${file}`], epic: `e${epicOf[index]}`, dependsOn: edges.filter(([from, to]) => from === index && to < from).map(([, to]) => `k${to}`) })),
    })))
    const epics = [epic('e0'), epic('e1', { dependsOn: ['e0'] }), epic('e2', { dependsOn: ['e1', 'e0'] })]
    fc.assert(fc.property(plan, ({ tickets, greenfield }) => {
      const checked = checkPlan(tickets, epics, { ...facts, greenfield })
      expect(checked.waves.flat()).toHaveLength(tickets.length)
      for (const wave of checked.waves) expect(new Set(wave.map((key) => checked.tickets.find((each) => each.key === key)?.scope[0])).size).toBe(wave.length)
      if (greenfield) expect(checked.waves[0]).toHaveLength(1)
    }), { numRuns: 300 })
  })
  it('says of epics what it says of tickets', () => {
    expect(skeletonFindings([epic('a', { dependsOn: ['b'] }), epic('b', { dependsOn: ['a'], requirements: ['R9'] })], ['R1', 'R2']).map((finding) => finding.code))
      .toEqual(['dependency_cycle', 'unknown_requirement', 'requirement_uncovered'])
  })
})
