import { asking, type Wanted } from './clarify.ts'
import type { DesignRequest } from './chunks.ts'
import type { Spec } from './spec.ts'

/** A spec in parts: what the designer makes of an idea and of answers. Markdown is made of it, and that is what is approved and built. */
export interface SpecCard {
  readonly title: string
  readonly overview: string
  readonly users: readonly string[]
  readonly requirements: readonly { readonly id: string; readonly text: string; readonly acceptance: readonly string[] }[]
  readonly technical: readonly string[]
  readonly constraints: readonly string[]
  /** What holds for the whole. */
  readonly acceptance: readonly string[]
  readonly outOfScope: readonly string[]
}

const strings = { type: 'array', items: { type: 'string' } } as const
const SCHEMA = {
  type: 'object', required: ['title', 'overview', 'users', 'requirements'],
  properties: {
    title: { type: 'string' }, overview: { type: 'string' }, users: strings,
    requirements: { type: 'array', items: { type: 'object', required: ['text'], properties: { id: { type: 'string' }, text: { type: 'string' }, acceptance: strings } } },
    technical: strings, constraints: strings, acceptance: strings, outOfScope: strings,
  },
} as const

/** Asks for the card. `problem`: why the one before could not be used. @throws DomainError token_cap_too_small */
export function cardRequest(wanted: Wanted, step: string, problem: string | null): DesignRequest {
  const rules = [
    'Write the spec of what the person wants, from what they wrote and answered, and from nothing else. Where they left something open, take the simplest sensible choice and say so under constraints.',
    'requirements: each one thing that the product does, in one or two sentences, testable, with an id (R1, R2, …; keep the ids that the person used) and the acceptance criteria that show it.',
    'users: who uses it and for what. technical: stack, interfaces, data. constraints: what must hold. acceptance: what holds for the whole. outOfScope: what was said not to be built.',
    wanted.context.analysis.greenfield ? '' : 'Name the files, commands and conventions of the repository where a requirement is about them.',
  ]
  return asking(wanted, step, rules, SCHEMA, 4_000, 'Hands in the spec.', problem === null ? null : `Your previous card could not be used: ${problem} Hand in a correct and complete one.`)
}

/** A card as Markdown that the spec parser reads back as the same requirements. Its own ids are kept where they are good ones. */
export function renderCard(card: SpecCard): { markdown: string; ids: readonly string[] } {
  const ids = idsOf(card.requirements.map(({ id }) => id.trim()))
  const acceptance = [...card.requirements.flatMap((requirement, index) => requirement.acceptance.map((text) => `${ids[index] ?? ''}: ${line(text)}`)), ...card.acceptance.map(line)]
  const sections: readonly (readonly [title: string, lines: readonly string[]])[] = [
    ['Users', card.users.map(prose)], ['Requirements', card.requirements.map(({ text }, index) => `${ids[index] ?? ''} ${line(text)}`)],
    ['Technical notes', card.technical.map(line)], ['Constraints', card.constraints.map(line)], ['Acceptance', acceptance], ['Out of scope', card.outOfScope.map(line)],
  ]
  const body = sections.flatMap(([title, lines]) => {
    const filled = lines.filter((text) => text !== '')
    return filled.length === 0 ? [] : [`## ${title}\n${filled.map((text) => `- ${text}`).join('\n')}`]
  })
  return { markdown: `${[`# ${line(card.title)}`, prose(card.overview), ...body].filter((part) => part !== '').join('\n\n')}\n`, ids }
}

/** Why a spec that was read from a card is not what the card says, or null. */
export function cardProblem(ids: readonly string[], spec: Spec): string | null {
  const found = spec.requirements.map(({ id }) => id)
  if (found.join() === ids.join()) return null
  return `its requirements are read as ${found.join(', ') || 'none'} instead of ${ids.join(', ')}: keep ids and lists out of the texts.`
}

function idsOf(given: readonly string[]): string[] {
  const usable = given.every((id) => /^(?:R|REQ|FR|NFR|US)-?\d{1,4}$/.test(id)) && new Set(given).size === given.length
  return given.map((id, index) => (usable ? id : `R${index + 1}`))
}

/** One line, without marks at its start that Markdown would take for structure. */
function line(text: string): string {
  return text.replace(/\s+/g, ' ').replace(/<!--|-->/g, '').trim().replace(/^(?:#{1,6}(?:\s+|$)|>\s*|[*+-](?:\s+|$)|\d+[.)](?:\s+|$)|\||`{3,}|~{3,})+/, '').trim()
}

/** The same where a line that opens like an id would be read as a requirement. */
function prose(text: string): string {
  const kept = line(text)
  return /^\W*(?:[A-Za-z]+(?:-[A-Za-z]+)*[-_ ]?\d|\d+\.\d)/.test(kept) ? `About ${kept}` : kept
}
