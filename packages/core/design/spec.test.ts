import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DomainError } from '../errors.ts'
import { MAX_SPEC_BYTES, parseSpec } from './spec.ts'

function failure(markdown: string): DomainError {
  try {
    parseSpec(markdown)
  } catch (error) {
    if (error instanceof DomainError) return error
    throw error
  }
  throw new Error('the spec was accepted')
}
const ids = (markdown: string): string[] => parseSpec(markdown).requirements.map((requirement) => requirement.id)

describe('reading a spec', () => {
  it('takes ids, sections, acceptance, constraints and exclusions from the usual layout', () => {
    const spec = parseSpec('# Tip jar\n\nShared tips.\n\n## Users\n- One barista.\n\n## Requirements\n- R1 Tips are whole cents\n  from 0 to 10000.\n- R2 The total is shown.\n\n## Constraints\nNo framework.\n\n## Out of scope\n- Accounts\n\n## Acceptance\n- `node --test` passes, also for R1.\n')
    expect(spec.title).toBe('Tip jar')
    expect(spec.requirements).toEqual([
      { id: 'R1', text: 'Tips are whole cents from 0 to 10000.', line: 9, section: 'Requirements', explicit: true },
      { id: 'R2', text: 'The total is shown.', line: 11, section: 'Requirements', explicit: true },
    ])
    expect(spec.constraints).toEqual(['No framework.'])
    expect(spec.outOfScope).toEqual(['Accounts'])
    expect(spec.acceptance).toEqual([{ text: '`node --test` passes, also for R1.', line: 20, requirement: null }])
    expect(spec.sections.map((section) => [section.title, section.kind])).toContainEqual(['Users', 'other'])
    expect(spec.sections.find((section) => section.title === 'Users')?.text).toBe('One barista.')
  })

  it.each([
    ['a colon', '- R1: text', 'R1'], ['a dash', '- R1 – text', 'R1'], ['bold', '- **FR-3:** text', 'FR-3'], ['bold around the title', '- **FR-3 Title.** text', 'FR-3'],
    ['brackets', '- [REQ-12] text', 'REQ-12'], ['code', '- `NFR-1` text', 'NFR-1'], ['a checkbox', '- [ ] R7 text', 'R7'], ['a ticked checkbox', '* [x] **R7** text', 'R7'],
    ['a numbered list', '1. REQ-1 text', 'REQ-1'], ['a paragraph', 'REQ-1: text', 'REQ-1'], ['a nested list', '- Group\n  - R4 text', 'R4'], ['a quote', '> - R4 text', 'R4'],
    ['a heading', '### US-2: text', 'US-2'], ['a table', '| Id | What |\n|---|---|\n| R9 | text |', 'R9'], ['a letter behind', '- R1a text', 'R1a'],
  ])('finds an id set off by %s', (_name, line, id) => {
    const spec = parseSpec(`# T\n\n## Requirements\n\n${line}\n`)
    expect(spec.requirements).toHaveLength(1)
    expect(spec.requirements[0]).toMatchObject({ id, explicit: true })
    expect(spec.requirements[0]?.text).toContain('text')
    expect(spec.requirements[0]?.text).not.toContain(id)
  })

  it('takes unusual prefixes for ids when they number several lines, and names like UTF-8 never', () => {
    expect(ids('# T\n## Requirements\n- K1: one\n- K2: two\n- UTF-8 files are read\n- UTF-16 files too\n- UTF-32 files are not')).toEqual(['K1', 'K2', ...Array.from({ length: 3 }, () => expect.stringMatching(/^R-/) as string)])
    expect(ids('# T\n## Rules\n- 1.1 one\n- 1.2 two\n- 1.3 three')).toEqual(['1.1', '1.2', '1.3'])
    expect(ids('# T\n## Rules\n- A4 paper must print')).toEqual([expect.stringMatching(/^R-/)])
  })

  it('assigns ids by content: the same in any order, another for another text', () => {
    const [one, two] = ids('# T\n## Requirements\n- Opens files\n- Saves files')
    expect(ids('# T\n\nNew words.\n## Requirements\n1. Saves   files\n2. Opens files')).toEqual([two, one])
    expect(ids('# T\n## Requirements\n- Opens folders')[0]).not.toBe(one)
    expect(new Set(ids('# T\n## Requirements\n- Same\n- Same')).size).toBe(2)
  })

  it('keeps paragraphs and code with their requirement, and its nested points below them', () => {
    const spec = parseSpec('# T\n## Requirements\n- R1 Scores\n  - bid met\n  - bid missed\n\n  See below.\n  ```\n  - R9 not one\n  ```\n- R2 Next')
    expect(spec.requirements.map((requirement) => requirement.id)).toEqual(['R1', 'R2'])
    expect(spec.requirements[0]?.text).toBe('Scores\nSee below.\n  ```\n  - R9 not one\n  ```\n- bid met\n- bid missed')
  })

  it('reads a requirement per heading, with its own acceptance criteria', () => {
    const spec = parseSpec('# T\n## R1: Login\nPeople log in.\n\n**Acceptance criteria:**\n- wrong password is refused\n\n## R2: Logout\nThey leave.')
    expect(spec.requirements.map(({ id, text }) => [id, text])).toEqual([['R1', 'Login\nPeople log in.'], ['R2', 'Logout\nThey leave.']])
    expect(spec.acceptance).toEqual([{ text: 'wrong password is refused', line: 6, requirement: 'R1' }])
  })

  it('falls back to list items anywhere, then to sentences with must', () => {
    expect(parseSpec('# Notes app\n- make notes\n- find notes').requirements.map((requirement) => requirement.text)).toEqual(['make notes', 'find notes'])
    expect(parseSpec('# Notes app\nIt is small. It must keep notes. Search must be fast.').requirements.map((requirement) => requirement.text)).toEqual(['It must keep notes.', 'Search must be fast.'])
  })

  it('ignores comments, front matter and examples in fences, and needs no line ending of one kind', () => {
    expect(ids('\ufeff---\r\ntitle: x\r\n---\r\n# T\r\n<!-- - R1 gone\r\n- R2 gone -->\r\n## Requirements\r\n- R3 stays\r\n\r\n```md\r\n- R4 gone\r\n```\r\n')).toEqual(['R3'])
  })

  it('takes a table of what is listed elsewhere for a summary or an index, not for a repetition', () => {
    const details = '## Functional requirements\n\n### REQ-1: Login\nPeople log in.\n'
    const table = '## Requirements summary\n\n| ID | Title |\n|---|---|\n| REQ-1 | Login |\n\n'
    for (const text of [`# T\n${details}${table}`, `# T\n${table}${details}`]) {
      expect(parseSpec(text).requirements.map(({ id, text: words }) => [id, words])).toEqual([['REQ-1', 'Login\nPeople log in.']])
    }
    expect(failure('# T\n## Requirements\n| ID | What |\n|---|---|\n| R1 | a |\n| R1 | b |').code).toBe('spec_duplicate_requirement')
  })

  it('reads the labels of a requirement as sections of it, each up to the next', () => {
    const spec = parseSpec('# T\n\n### REQ-1: Login\n\n**Description**:\nPeople log in.\n\n**Acceptance Criteria**:\n- [ ] wrong password is refused\n\n**Rationale**:\nSafety.\n\n### REQ-2: Logout\nThey leave.')
    expect(spec.requirements.map(({ id, text }) => [id, text])).toEqual([['REQ-1', 'Login\nPeople log in.\nSafety.'], ['REQ-2', 'Logout\nThey leave.']])
    expect(spec.acceptance).toEqual([{ text: 'wrong password is refused', line: 9, requirement: 'REQ-1' }])
  })

  it('does not take figures for ids', () => {
    expect(ids('# T\n## Rules\n- 1.5 GB of memory\n- 2.5 MB of disk\n- 3.5 kB of text')).toEqual([expect.stringMatching(/^R-/), expect.stringMatching(/^R-/), expect.stringMatching(/^R-/)])
  })

  it('lets a later section speak of a requirement by its id', () => {
    expect(ids('# T\n## Requirements\n- R1 one\n## Notes\n- R1: comes from law')).toEqual(['R1'])
  })

  it.each([
    ['nothing', '', 'spec_empty', {}], ['blanks', '\ufeff \r\n\n', 'spec_empty', {}], ['only a comment', '<!-- x -->', 'spec_empty', {}],
    ['no requirement', '# T\n\nA nice thing.\n', 'spec_without_requirements', { line: 1 }],
    ['only exclusions', '# T\n## Out of scope\n- R1 x', 'spec_without_requirements', { line: 2 }],
    ['an id twice', '# T\n- R1 a\n- r\n- **R1**: b', 'spec_duplicate_requirement', { id: 'R1', line: 4, firstLine: 2 }],
    ['an id alone', '# T\n\n- R1 a\n- R2\n', 'spec_empty_requirement', { id: 'R2', line: 4 }],
    ['an open fence', '# T\n- R1 a\n```js\n- R2 b', 'spec_unclosed_block', { what: 'code fence', line: 3 }],
    ['an open comment', '# T\n- R1 a\n<!-- todo\n- R2 b', 'spec_unclosed_block', { what: 'comment', line: 3 }],
    ['a NUL', '# T\r\n- R1 \u0000', 'spec_not_text', { line: 2 }],
    ['too much', `# T\n- R1 ${'é'.repeat(MAX_SPEC_BYTES / 2)}`, 'spec_too_large', { limitBytes: MAX_SPEC_BYTES }],
  ])('refuses %s and says where', (_name, markdown, code, details) => {
    const error = failure(markdown)
    expect(error.code).toBe(code)
    expect(error.details).toMatchObject(details)
    expect(error.message + error.remedy).not.toMatch(/\{\w+\}/)
  })
})

describe('any text', () => {
  const line = fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 40 }),
    fc.constantFrom('# T', '## Requirements', '## Acceptance', '- R1 one', '  - nested', '1. first', '| a | b |', '|---|---|', '```', '<!--', '-->', '> quote', '---', '\tindented', '- [ ] **FR-3:** x', '', '- ', '==='),
  )
  it('is read or refused with a code, never with another error, and the ids are unique and stable', () => {
    fc.assert(fc.property(fc.array(line, { maxLength: 30 }), fc.constantFrom('\n', '\r\n'), (lines, ending) => {
      const text = lines.join(ending)
      let first: ReturnType<typeof parseSpec>
      try {
        first = parseSpec(text)
      } catch (error) {
        expect(error).toBeInstanceOf(DomainError)
        return
      }
      const count = text.split(/\r\n|\r|\n/).length
      expect(first.requirements.length).toBeGreaterThan(0)
      expect(new Set(first.requirements.map(({ id }) => id.toUpperCase())).size).toBe(first.requirements.length)
      for (const requirement of first.requirements) {
        expect(requirement.text.trim()).not.toBe('')
        expect(requirement.line).toBeGreaterThanOrEqual(1)
        expect(requirement.line).toBeLessThanOrEqual(count)
      }
      expect(parseSpec(text)).toEqual(first)
    }), { numRuns: 2000 })
  })

  it('gives every listed requirement, whatever its words', () => {
    const words = fc.string({ unit: fc.constantFrom(...'abcdefgh äöü 漢字🙂,;'), minLength: 1, maxLength: 30 }).map((text) => text.replace(/\s+/g, ' ').trim()).filter((text) => text !== '')
    fc.assert(fc.property(fc.array(words, { minLength: 1, maxLength: 40 }), (texts) => {
      const spec = parseSpec(`# T\n\n## Requirements\n\n${texts.map((text, index) => `- R${index + 1} ${text}`).join('\n')}\n`)
      expect(spec.requirements.map(({ id, text }) => [id, text])).toEqual(texts.map((text, index) => [`R${index + 1}`, text]))
    }))
  })

  it('of up to 2,000 requirements is read, more are refused', () => {
    const many = (count: number): string => `# T\n## Requirements\n${Array.from({ length: count }, (_, index) => `- R${index} ${'word '.repeat(60)}`).join('\n')}`
    expect(parseSpec(many(2_000)).requirements).toHaveLength(2_000)
    expect(failure(many(2_001))).toMatchObject({ code: 'spec_too_many_requirements', details: { count: 2_001, limit: 2_000 } })
  })

  const fill = (part: string): string => part.repeat(Math.floor((MAX_SPEC_BYTES - 100) / part.length))
  it.each([
    ['blanks in a heading', `# ${fill(' ')}x\n- R1 a`], ['headings', `${fill('# a\n')}- R1 a`], ['deep headings', `${fill('###### a\n')}- R1 a`], ['setext headings', `${fill('a\n=\n')}- R1 a`],
    ['blanks in a requirement', `- R1 a${fill(' ')}x`], ['blanks before a bar', `a|b\n${fill(' ')}x\n- R1 a`], ['list items', fill('- a\n')], ['labels', `${fill('**Note me**:\na\n\n')}- R1 a`],
    ['brackets', `- R1 ${fill('[')}`], ['link beginnings', `- R1 ${fill('[a](')}`], ['stars', `- R1 ${fill('*')}`], ['bars', `${fill('|')}\n${fill('|').slice(0, 50)}\n- R1 a`], ['comments', `${fill('<!---->')}\n- R1 a`],
    ['comment beginnings in code', `${fill('`<!--')}\n- R1 a`], ['quotes', `${fill('>')}\n- R1 a`], ['backticks', `${fill('` ')}\n- R1 a`], ['dashes', `${fill('- ')}\n- R1 a`], ['digits', `- R${fill('1')} a`], ['ids', fill('- AB1 a\n')], ['line ends', `${fill('\r\n')}- R1 a`],
  ])('of a megabyte of %s takes no longer than other text', (_name, text) => {
    const started = performance.now()
    try { parseSpec(text.slice(0, MAX_SPEC_BYTES)) } catch (error) { expect(error).toBeInstanceOf(DomainError) }
    expect(performance.now() - started).toBeLessThan(2_500)
  }, 60_000)
})
