import { DomainError } from '../errors.ts'
import { scanMarkdown, type Block } from './markdown.ts'
import { explicitIdOf, type ExplicitId, trustedPrefixes } from './requirement-ids.ts'
import { contentDigits, shorten, utf8Bytes } from './text.ts'

/** Largest spec, bytes of UTF-8. */
export const MAX_SPEC_BYTES = 1024 * 1024
/** Most requirements of one spec. */
export const MAX_REQUIREMENTS = 2_000

export type SectionKind = 'requirements' | 'acceptance' | 'constraints' | 'out_of_scope' | 'other'

export interface SpecSection {
  readonly title: string
  readonly level: number
  /** 1-based line of the heading; 1 for the text before the first heading. */
  readonly line: number
  readonly kind: SectionKind
  /** Prose of the section: paragraphs, and list items that are no requirements. */
  readonly text: string
}

export interface Requirement {
  /** As written in the spec, or `R-` and six base32 digits made from section and text where the spec has none. */
  readonly id: string
  readonly text: string
  readonly line: number
  /** Title of the section that it stands in. */
  readonly section: string
  /** False: the id was assigned. */
  readonly explicit: boolean
}

export interface Acceptance {
  readonly text: string
  readonly line: number
  /** The requirement under whose heading it stands; null for the whole spec. */
  readonly requirement: string | null
}

export interface Spec {
  readonly title: string
  readonly sections: readonly SpecSection[]
  readonly requirements: readonly Requirement[]
  readonly acceptance: readonly Acceptance[]
  readonly constraints: readonly string[]
  readonly outOfScope: readonly string[]
}

interface Candidate { kind: 'heading' | 'item' | 'row' | 'paragraph'; text: string; line: number; section: number; depth: number; parent: Candidate | null; id: ExplicitId | null; nestedIds: boolean }
interface DraftSection { title: string; level: number; line: number; kind: SectionKind; text: string[]; ownerLine: number | null; labelOf?: SectionKind }

/**
 * Reads a Markdown spec. Requirements are: what carries an id (`- R1 …`, `**FR-3:** …`, `### REQ-12 …`, a table row) outside
 * acceptance, constraints and exclusions; each list item or table row of a section named like requirements, features, user
 * stories or rules; and, when there is neither, every list item, then every sentence with must, shall or should.
 * @throws DomainError spec_empty, spec_too_large, spec_not_text, spec_unclosed_block, spec_without_requirements,
 *   spec_duplicate_requirement, spec_empty_requirement, spec_too_many_requirements; each says the line, where there is one
 */
export function parseSpec(markdown: string): Spec {
  const bytes = utf8Bytes(markdown)
  if (bytes > MAX_SPEC_BYTES) throw new DomainError('spec_too_large', { bytes, limitBytes: MAX_SPEC_BYTES })
  const nul = markdown.indexOf('\u0000')
  if (nul >= 0) throw new DomainError('spec_not_text', { line: markdown.slice(0, nul).split(/\r\n|\r|\n/).length })
  if (markdown.replace(/^\ufeff/, '').trim() === '') throw new DomainError('spec_empty', {})

  const blocks = scanMarkdown(markdown)
  if (blocks.length === 0) throw new DomainError('spec_empty', {})
  const trusted = trustedPrefixes(blocks.flatMap((block) => (block.kind === 'row' ? block.cells.slice(0, 1) : [block.text])))

  const titleBlock = blocks.find((block) => block.kind === 'heading' && block.level === 1) ?? blocks.find((block) => block.kind === 'heading')
  const sections: DraftSection[] = [{ title: '', level: 0, line: 1, kind: 'other', text: [], ownerLine: null }]
  const candidates: Candidate[] = []
  const acceptance: { text: string; line: number; ownerLine: number | null }[] = []
  const constraints: string[] = []
  const outOfScope: string[] = []
  /** The sections that the current one stands in, outermost first. */
  const ancestors = sections.slice()
  let stack: Candidate[] = []
  let heading: Candidate | null = null

  let split: Block | null = null
  for (let index = 0; index < blocks.length; index++) {
    const block: Block | undefined = split ?? blocks[index]
    split = null
    if (!block) continue
    if (block.kind === 'heading') {
      stack = []
      const id = block === titleBlock ? null : explicitIdOf(block.text, trusted)
      while ((ancestors.at(-1)?.level ?? -1) >= block.level) ancestors.pop()
      const parent = ancestors.at(-1) ?? null
      const own = block === titleBlock ? 'other' : kindOf(block.text)
      const kind = own === 'other' ? parent?.labelOf ?? parent?.kind ?? 'other' : own
      const asRequirement = id !== null && isRequirementPlace(kind)
      // A heading below a requirement's heading still speaks about that requirement.
      const inherited = heading !== null && parent !== null && parent.ownerLine === heading.line
      if (asRequirement) {
        heading = { kind: 'heading', text: id.rest, line: block.line, section: sections.length, depth: 0, parent: null, id, nestedIds: false }
        candidates.push(heading)
      } else if (!inherited) heading = null
      const opened: DraftSection = { title: plain(id && asRequirement ? `${id.id} ${id.rest}` : block.text), level: block.level, line: block.line, kind, text: [], ownerLine: heading?.line ?? null }
      sections.push(opened)
      ancestors.push(opened)
      continue
    }
    const section = sections.at(-1)
    if (!section) continue
    const label: ReturnType<typeof labelOf> = block.kind === 'paragraph' ? labelOf(block.text) : null
    if (label) {
      // Another label ends what the one before it began.
      const base = section.labelOf ?? section.kind
      sections.push({ ...section, kind: label.kind === 'other' ? base : label.kind, labelOf: base, text: [], line: block.line })
      stack = []
      if (label.rest === '') continue
      // The rest of the paragraph is looked at as a block of its own.
      split = { kind: 'paragraph', text: label.rest, line: block.line + 1 }
      index--
      continue
    }
    if (block.kind === 'code') {
      if (heading) heading.text += `\n${block.text}`
      else section.text.push(block.text)
      continue
    }
    const text = textOf(block)
    if (section.kind === 'acceptance') {
      const last = acceptance.at(-1)
      if (block.kind === 'item' && block.depth > 0 && last) last.text += `\n- ${text}`
      else if (text !== '') acceptance.push({ text, line: block.line, ownerLine: section.ownerLine })
      continue
    }
    if (section.kind === 'constraints' || section.kind === 'out_of_scope') {
      if (text !== '') (section.kind === 'constraints' ? constraints : outOfScope).push(text)
      continue
    }
    const id = block.kind === 'row' ? rowId(block, trusted) : explicitIdOf(block.text, trusted)
    const depth = block.kind === 'item' ? block.depth : 0
    if (block.kind !== 'item') stack = []
    while (stack.length > 0 && (stack.at(-1)?.depth ?? 0) >= depth) stack.pop()
    const parent = stack.at(-1) ?? null
    if (heading && !id && !parent) { heading.text += block.kind === 'item' ? `\n${'  '.repeat(block.depth)}- ${text}` : `\n${text}`; continue }
    if (id) {
      for (let above = parent; above; above = above.parent) above.nestedIds = true
      const candidate: Candidate = { kind: block.kind, text: id.rest, line: block.line, section: sections.length - 1, depth, parent, id, nestedIds: false }
      candidates.push(candidate)
      stack.push(candidate)
    } else if (block.kind === 'paragraph') {
      section.text.push(text)
    } else if (parent) {
      parent.text += `\n${'  '.repeat(depth - parent.depth - 1)}- ${text}`
    } else {
      const candidate: Candidate = { kind: block.kind, text, line: block.line, section: sections.length - 1, depth, parent: null, id: null, nestedIds: false }
      candidates.push(candidate)
      stack.push(candidate)
    }
  }

  const chosen = choose(candidates, sections)
  if (chosen.length === 0) throw new DomainError('spec_without_requirements', { line: sections.at(-1)?.line ?? 1 })
  if (chosen.length > MAX_REQUIREMENTS) throw new DomainError('spec_too_many_requirements', { count: chosen.length, limit: MAX_REQUIREMENTS })
  const taken = new Set(chosen)
  for (const candidate of candidates) if (!taken.has(candidate) && candidate.text !== '') sections[candidate.section]?.text.push(candidate.text)
  const requirements = identify(chosen, sections)
  const byLine = new Map(requirements.map((requirement) => [requirement.line, requirement.id]))
  return {
    title: titleOf(titleBlock, blocks),
    sections: sections.filter((section) => section.level > 0 || section.text.length > 0)
      .map((section) => ({ title: section.title, level: section.level, line: section.line, kind: section.kind, text: section.text.join('\n') })),
    requirements,
    acceptance: acceptance.map(({ text, line, ownerLine }) => ({ text, line, requirement: ownerLine === null ? null : byLine.get(ownerLine) ?? null })),
    constraints,
    outOfScope,
  }
}

/** Which candidates are the requirements of this spec; adds the sentences of the last resort. */
function choose(candidates: readonly Candidate[], sections: readonly DraftSection[]): Candidate[] {
  const real = candidates.filter((candidate) => candidate.id !== null || !candidate.nestedIds)
  const direct = real.filter((candidate) => candidate.id !== null || sections[candidate.section]?.kind === 'requirements')
  if (direct.length > 0) return direct
  const filled = real.filter((candidate) => candidate.text !== '')
  if (filled.length > 0) return filled
  return sections.flatMap((section, index) => (isRequirementPlace(section.kind) ? section.text : [])
    .flatMap((text) => text.split(/(?<=[.!?])\s+/))
    .filter((sentence) => /\b(?:must|shall|should|needs? to|has to)\b/i.test(sentence))
    .map((text): Candidate => ({ kind: 'paragraph', text: text.replace(/\s+/g, ' '), line: section.line, section: index, depth: 0, parent: null, id: null, nestedIds: false })))
}

function identify(chosen: readonly Candidate[], sections: readonly DraftSection[]): Requirement[] {
  const seen = new Map<string, Candidate>()
  const kept = chosen.filter((candidate) => {
    if (!candidate.id) return true
    const key = candidate.id.id.toUpperCase()
    const first = seen.get(key)
    if (!first) { seen.set(key, candidate); return true }
    // Elsewhere than among the requirements an id at the start of a line is a remark about that requirement.
    if (sections[first.section]?.kind === 'requirements' && sections[candidate.section]?.kind !== 'requirements') return false
    // A table beside the requirements themselves (an index before them, a summary behind them) says nothing new.
    if (candidate.kind === 'row' && (first.kind !== 'row' || first.section !== candidate.section)) return false
    if (first.kind === 'row' && candidate.kind !== 'row') {
      first.text = candidate.text
      first.line = candidate.line
      first.section = candidate.section
      return false
    }
    throw new DomainError('spec_duplicate_requirement', { id: candidate.id.id, line: candidate.line, firstLine: first.line })
  })
  const taken = new Set(seen.keys())
  return kept.map((candidate) => {
    const section = sections[candidate.section]
    const text = candidate.text.split('\n').map((line) => line.trimEnd()).join('\n').trim()
    if (plain(text) === '') throw new DomainError('spec_empty_requirement', { id: candidate.id?.id ?? 'this list item', line: candidate.line })
    let id = candidate.id?.id
    for (let again = 0; id === undefined; again++) {
      const made = `R-${contentDigits(`${section?.title ?? ''}\n${text.replace(/\s+/g, ' ').toLowerCase()}${again === 0 ? '' : `\n${again}`}`)}`
      if (!taken.has(made)) id = made
    }
    taken.add(id.toUpperCase())
    return { id, text, line: candidate.line, section: section?.title ?? '', explicit: candidate.id !== null }
  })
}

function isRequirementPlace(kind: SectionKind): boolean {
  return kind === 'requirements' || kind === 'other'
}

const KINDS: readonly (readonly [SectionKind, RegExp])[] = [
  ['out_of_scope', /\b(?:out[- ]of[- ]scope|non-?goals?|not in scope|exclusions?|excluded|will not|won['’]t)\b/i],
  ['acceptance', /\b(?:acceptance|definition of done|done when|success criteria|how to verify|verification)\b/i],
  ['constraints', /\b(?:constraints?|assumptions?|tech(?:nical|nology)? (?:stack|choices|decisions|notes)|architecture|limitations?|modules)\b/i],
  ['requirements', /\b(?:requirements?|features?|functional|functionality|user stories|stories|use cases|in scope|scope|capabilities|behaviou?rs?|rules|must haves?|what (?:it|the \w+) (?:must )?do(?:es)?)\b/i],
]

function kindOf(title: string): SectionKind {
  return KINDS.find(([, pattern]) => pattern.test(title))?.[0] ?? 'other'
}

/** A line such as `**Acceptance criteria:**` works as a heading for what stands below it; `rest` is the text in the same paragraph. */
function labelOf(text: string): { kind: SectionKind; rest: string } | null {
  const [first = '', ...rest] = text.split('\n')
  const label = /^(?:\*\*|__)?([^\n:*_]{3,40}?)(?:\*\*|__)?:(?:\*\*|__)?$/.exec(first)?.[1]
  if (!label) return null
  const kind = kindOf(label)
  // A plain "For example:" is prose; what is set in bold, or means a kind of section, is a label.
  return kind === 'other' && !/^(?:\*\*|__)/.test(first) ? null : { kind, rest: rest.join('\n') }
}

function textOf(block: Exclude<Block, { kind: 'heading' | 'code' }>): string {
  return block.kind === 'row' ? block.cells.filter((cell) => cell !== '').join(' – ') : block.text.trim()
}

/** The id of a table row is its first cell, alone or in front of the text. */
function rowId(block: Extract<Block, { kind: 'row' }>, trusted: ReadonlySet<string>): ExplicitId | null {
  const first = explicitIdOf(block.cells[0] ?? '', trusted)
  if (!first) return null
  const named = /^(?:prio|status|owner|points|estimate|size|notes?)/i
  const rest = block.cells.slice(1).map((cell, index) => ({ cell, name: block.header[index + 1] ?? '' })).filter(({ cell }) => cell !== '')
    .map(({ cell, name }) => (named.test(name) ? `(${name}: ${cell})` : cell))
  return { ...first, rest: [first.rest, ...rest].filter((part) => part !== '').join(' – ') }
}

function plain(text: string): string {
  return text.replace(/!?\[([^\][]{0,500})\]\([^()]{0,2000}\)/g, '$1').replace(/[*`]+|\b__|__\b/g, '').replace(/\s+/g, ' ').trim()
}

function titleOf(titleBlock: Block | undefined, blocks: readonly Block[]): string {
  if (titleBlock?.kind === 'heading' && plain(titleBlock.text) !== '') return shorten(plain(titleBlock.text), 200)
  const first = blocks.find((block) => block.kind === 'paragraph' || block.kind === 'item')
  return shorten(first && 'text' in first ? plain(first.text) : 'Spec', 80) || 'Spec'
}
