import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { analyseRepository } from './analysis.ts'
import { cardProblem, cardRequest, renderCard, type SpecCard } from './card.ts'
import { requestTokens } from './chunks.ts'
import { clarifyRequest, covered, MAX_ANSWER_CHARACTERS, sameQuestion, type Wanted } from './clarify.ts'
import { parseSpec } from './spec.ts'

const coverage = { overview: 80, users: 80, features: 80, technical: 0, constraints: 0, acceptance: 0 }

describe('clarification', () => {
  it('is over when overview, users and features are at 80, whatever the rest', () => {
    expect(covered(coverage)).toBe(true)
    for (const area of ['overview', 'users', 'features'] as const) expect(covered({ ...coverage, technical: 100, [area]: 79 })).toBe(false)
  })

  it.each([
    ['Who will use it?', 'Who will use this?', true], ['Who will use it?', 'who will use it', true], ['Which currencies should the shop support?', 'Should the shop support which currencies, please?', true],
    ['Which currencies should the shop support?', 'Which languages should the shop support?', false], ['Who will use it?', 'What will it be used for?', false], ['Is it?', 'Should we?', false],
  ])('"%s" and "%s" ask the same: %s', (one, two, same) => {
    expect(sameQuestion(one, two)).toBe(same)
    expect(sameQuestion(two, one)).toBe(same)
  })

  it('stays under the cap with any idea and any answers, and so does the card', () => {
    const text = fc.string({ unit: fc.constantFrom('word ', 'é', '漢', '🙂', '"', '\\', '\n'), minLength: 1, maxLength: 300 })
    const analysis = analyseRepository(Array.from({ length: 300 }, (_, index) => `src/area${index % 7}/module-${index}.ts`), {})
    fc.assert(fc.property(text, fc.array(text, { maxLength: 12 }), fc.integer({ min: 4_000, max: 12_000 }), (idea, answers, cap) => {
      const wanted: Wanted = {
        context: { sessionId: 'SES-00000000', analysis, cap, revisions: [], agents: [] }, input: idea.repeat(60),
        exchanges: answers.map((answer, index) => ({ number: index + 1, question: `Question ${index + 1}?`, answer: answer.repeat(40).slice(0, MAX_ANSWER_CHARACTERS) })),
      }
      for (const request of [clarifyRequest(wanted, 'clarify:13', null), cardRequest(wanted, 'card', null)]) expect(requestTokens(request)).toBeLessThanOrEqual(cap)
    }), { numRuns: 60 })
  })

  it('names the files of a repository that exists, and says of a new one that nothing there answers', () => {
    const request = (files: string[]): string => JSON.stringify(clarifyRequest({ context: { sessionId: 'SES-00000000', analysis: analyseRepository(files, {}), cap: 8_000, revisions: [], agents: [] }, input: 'idea', exchanges: [] }, 'clarify:1', null))
    expect(request(['src/cart.ts'])).toContain('src/cart.ts')
    expect(request(['README.md'])).toContain('The repository is new')
  })
})

describe('a spec card', () => {
  const line = fc.oneof(
    fc.string({ unit: fc.constantFrom('word', ' ', '\n', '#', '-', '*', '`', '1.', '|', 'R1', ':', '<!--', '-->', '>', 'é'), minLength: 1, maxLength: 12 }), fc.constantFrom('# Heading', '- R7 nested', '```', '| a | b |', 'R1: again'),
  ).chain((text) => fc.constantFrom(`The product shows ${text}`, `${text} is shown by the product`, `- 1. # ${text} shown`))
  it('is read back from its Markdown as the same requirements, whatever the texts', () => {
    const lines = fc.array(line, { maxLength: 4 })
    fc.assert(fc.property(fc.record({
      title: line, overview: line, users: lines, technical: lines, constraints: lines, acceptance: lines, outOfScope: lines,
      requirements: fc.array(fc.record({ id: fc.constantFrom('', 'R1', 'R2', 'US-7', 'odd id'), text: line, acceptance: lines }), { minLength: 1, maxLength: 12 }),
    }), (card: SpecCard) => {
      const { markdown, ids } = renderCard(card)
      const spec = parseSpec(markdown)
      expect(cardProblem(ids, spec)).toBeNull()
      expect(spec.constraints).toHaveLength([...card.technical, ...card.constraints].length)
      expect(spec.outOfScope).toHaveLength(card.outOfScope.length)
    }), { numRuns: 200 })
  })
  it('keeps ids that are good ones', () => {
    const card: SpecCard = { title: 'Tips', overview: '', users: [], technical: [], constraints: [], acceptance: [], outOfScope: [], requirements: [{ id: 'US-2', text: 'Tips are shown.', acceptance: ['1.20 for 10', '-5 is refused'] }, { id: 'US-1', text: 'Tips are kept.', acceptance: [] }] }
    expect(renderCard(card).markdown).toBe('# Tips\n\n## Requirements\n- US-2 Tips are shown.\n- US-1 Tips are kept.\n\n## Acceptance\n- US-2: 1.20 for 10\n- US-2: -5 is refused\n')
  })
})
