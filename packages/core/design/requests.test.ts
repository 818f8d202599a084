import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { DomainError } from '../errors.ts'
import { analyseRepository, analysisText } from './analysis.ts'
import { BYTES_PER_TOKEN, requestTokens, takeChunk, TOOL_USE_TOKENS } from './chunks.ts'
import { mergeEpics, mergeTickets, normalKey, patched, spelledAs } from './merge.ts'
import type { Epic, PlanTicket } from './plan.ts'
import { againRequest, type DesignContext, expandRequest, repairRequest, skeletonRequest, widen } from './requests.ts'
import { parseSpec, type Requirement } from './spec.ts'
import { shorten, utf8Bytes } from './text.ts'

const analysis = analyseRepository(Array.from({ length: 300 }, (_, index) => `src/area${index % 7}/module-${index}.ts`), { 'package.json': '{"type":"module","scripts":{"test":"node --test"}}' })
const context = (over: Partial<DesignContext> = {}): DesignContext => ({
  sessionId: 'SES-00000000', cap: 4_000, revisions: [], agents: ['coder', 'writer'], analysis,
  spec: parseSpec('# T\n\nProse about it.\n\n## Requirements\n- R1 one\n\n## Constraints\n- no framework\n\n## Acceptance\n- it works\n'), ...over,
})
const epic: Epic = { key: 'core', title: 'Core', requirements: ['R1'], dependsOn: [] }
const ticket = (key: string, epicKey = 'core', dependsOn: string[] = []): PlanTicket => ({ key, epic: epicKey, title: `Ticket ${key}`, description: 'd', acceptance: ['a'], requirements: ['R1'], scope: ['src/**'], dependsOn, storyPoints: 1, agent: '' })
const requirement = (id: string, text: string): Requirement => ({ id, text, line: 1, section: 'Requirements', explicit: true })

describe('a request of the designer', () => {
  it('says who asks for which step, and forces the tool', () => {
    const request = skeletonRequest(context(), 'skeleton', [requirement('R1', 'one')], [], 1)
    expect(request.system).toMatch(/^Swarm-Role: designer$/m)
    expect(request.system).toMatch(/^Swarm-Step: skeleton$/m)
    expect(request.system).toMatch(/^Swarm-Session: SES-00000000$/m)
    expect(request.tool_choice).toEqual({ type: 'tool', name: 'submit' })
    expect(request.messages[0]?.content).toContain('- R1: one')
  })

  it('stays under the cap with any requirements, epics and tickets around it, and all of them are asked for once', () => {
    const text = fc.string({ unit: fc.constantFrom('word ', 'é', '漢', '🙂', '"', '\\', '\n', 'x'), minLength: 1, maxLength: 200 })
    fc.assert(fc.property(fc.array(text, { minLength: 1, maxLength: 60 }), fc.nat(150), fc.integer({ min: 3_500, max: 9_000 }), (texts, known, cap) => {
      const requirements = texts.map((words, index) => requirement(`R${index + 1}`, words))
      const around = { ...context(), cap }
      const epics = Array.from({ length: known }, (_, index) => ({ ...epic, key: `epic-number-${index}` }))
      const tickets = Array.from({ length: known }, (_, index) => ticket(`ticket-number-${index}`))
      for (const build of [
        (items: readonly Requirement[], detail: number) => skeletonRequest(around, 'skeleton:7', items, epics, detail),
        (items: readonly Requirement[], detail: number) => expandRequest(around, 'expand:core:7', epic, items, tickets, detail),
      ]) {
        const asked: string[] = []
        let rest: readonly Requirement[] = requirements
        while (rest.length > 0) {
          const fit = takeChunk(rest, cap, build, { what: (item) => item?.id ?? '' })
          for (const request of [fit.request, widen(fit.request, cap), againRequest(widen(fit.request, cap), 'p'.repeat(2_000), cap)]) {
            expect(requestTokens(request)).toBeLessThanOrEqual(cap)
            // The same rule applied to what goes over the wire.
            expect(Math.ceil(utf8Bytes(JSON.stringify({ model: 'claude-opus-4-5', ...request })) / BYTES_PER_TOKEN) + TOOL_USE_TOKENS + request.max_tokens).toBeLessThanOrEqual(cap)
          }
          asked.push(...fit.taken.map(({ id }) => id))
          rest = fit.rest
        }
        expect(asked).toEqual(requirements.map(({ id }) => id))
      }
    }), { numRuns: 40 })
  })

  it('that cannot fit says what needs how much', () => {
    const huge = [requirement('R7', 'word '.repeat(5_000))]
    expect(() => takeChunk(huge, 4_000, (items, detail) => skeletonRequest(context(), 'skeleton', items, [], detail), { what: (item) => `requirement ${item?.id}` }))
      .toThrow(expect.objectContaining({ code: 'token_cap_too_small', details: expect.objectContaining({ cap: 4_000, what: 'requirement R7' }) }) as DomainError)
  })

  it('keeps what a person asked for even with the least context', () => {
    const revised = context({ revisions: ['Use one module for totals.'] })
    expect(expandRequest(revised, 'expand:core', epic, [], [], 0).messages[0]?.content).toContain('Use one module for totals.')
  })

  it('for a repair shows the mistakes with their remedies and the entries as planned', () => {
    const finding = { code: 'dependency_cycle', severity: 'error', place: ['a', 'b', 'a'], message: 'a → b → a.', remedy: 'Remove one.' } as const
    const content = repairRequest(context(), 'repair:1', 'tickets', [{ finding, about: [ticket('a'), ticket('b')], requirements: [] }], ['a', 'b', 'c'], 1).messages[0]?.content
    expect(content).toContain('- dependency_cycle: a → b → a. Remove one.')
    expect(content).toContain('{"key":"a","title":"Ticket a"')
    expect(content).toContain('All keys: a, b, c')
  })
})

describe('an analysis', () => {
  it('finds stack, entry points, commands, tests and conventions', () => {
    const found = analyseRepository(['package.json', 'src/index.ts', 'src/a.ts', 'test/a.test.ts', 'AGENTS.md', 'docs/x.md', 'style.css'], {
      'package.json': '{"type":"module","main":"./src/index.ts","scripts":{"test":"node --test","build":"tsc"},"dependencies":{"zod":"4"}}', 'AGENTS.md': 'Keep functions small.',
    })
    expect(found).toMatchObject({ greenfield: false, fileCount: 7, stack: ['TypeScript (3 files)', 'CSS (1 files)', 'zod'], entryPoints: ['src/index.ts'], testCommand: 'npm test' })
    expect(found.commands).toContainEqual({ name: 'build', command: 'npm run build' })
    expect(found.conventions).toContain('AGENTS.md says: Keep functions small.')
    expect(found.files[0]).toBe('style.css')
  })
  it('calls a repository of papers new', () => {
    expect(analyseRepository(['README.md', 'LICENSE', '.gitignore', 'package.json'], { 'package.json': 'not json' }).greenfield).toBe(true)
    expect(analyseRepository([], {}).greenfield).toBe(true)
  })
  it('fits into what it may take and counts what it leaves out', () => {
    for (const limit of [0, 80, 400, 2_000]) expect(analysisText(analysis, limit).length).toBeLessThanOrEqual(Math.max(limit, 120))
    expect(analysisText(analysis, 2_000)).toMatch(/and \d+ more\.$/)
  })
})

describe('merging answers', () => {
  it('gives a requirement to the epic that had it first', () => {
    const merged = mergeEpics([epic], [{ key: 'core', title: 'Other', requirements: ['R2'], dependsOn: ['base'] }, { key: 'ui', title: 'UI', requirements: ['R1', 'R3'], dependsOn: [] }])
    expect(merged).toEqual([{ key: 'core', title: 'Core', requirements: ['R1', 'R2'], dependsOn: ['base'] }, { key: 'ui', title: 'UI', requirements: ['R3'], dependsOn: [] }])
  })
  it('renames a taken key, with the dependencies on it in the same answer', () => {
    const merged = mergeTickets([ticket('model'), ticket('ui-model')], [ticket('model', 'ui'), ticket('view', 'ui', ['model'])])
    expect(merged.map(({ key, dependsOn }) => [key, dependsOn])).toEqual([['model', []], ['ui-model', []], ['ui-model-2', []], ['view', ['ui-model-2']]])
  })
  it('spells keys and requirement ids in one way', () => {
    expect(normalKey('  Core / Model_1 ')).toBe('core-model-1')
    expect(spelledAs(['r1', ' R2 ', 'R1', 'X'], ['R1', 'R2'])).toEqual(['R1', 'R2', 'X'])
  })
  it('changes, adds and removes by key', () => {
    const result = patched([ticket('a'), ticket('b'), ticket('c')], [{ key: 'a', dependsOn: ['c'] }, { key: 'd', title: 'New' }], ['b'], (change) => ({ ...ticket(change.key), title: change.title ?? '' }))
    expect(result.map(({ key, title, dependsOn }) => [key, title, dependsOn])).toEqual([['a', 'Ticket a', ['c']], ['c', 'Ticket c', []], ['d', 'New', []]])
  })
  it('shortens at a word and never inside a character', () => {
    expect(shorten('one two three', 9)).toBe('one two…')
    expect(shorten('ab🙂cd', 4)).toBe('ab…')
  })
})
