export interface ExplicitId {
  /** As written. */
  readonly id: string
  /** The text after it. */
  readonly rest: string
}

/** Prefixes that mean a requirement wherever they open a line. */
const KNOWN = new Set(['R', 'REQ', 'FR', 'NFR', 'US', 'UC', 'BR', 'FEAT', 'RULE', 'STORY'])
/** Names with a number that open sentences without being ids: "UTF-8 files", "ISO-8601: …". */
const NEVER = new Set(['UTF', 'ISO', 'RFC', 'SHA', 'MD', 'HTTP', 'TLS', 'SSL', 'IPV', 'IP', 'ES', 'MP', 'WCAG', 'CO', 'X', 'COVID', 'GPT', 'EN', 'RS', 'CRC', 'BASE'])

const ID = '[A-Z]{1,10}(?:-[A-Z]{1,10})*[-_]?\\d{1,6}(?:[.-]\\d{1,4})*[a-z]?|(?:Req|Requirement|Feature|Story|Rule)[- ]\\d{1,6}|[1-9]\\d?(?:\\.[1-9]\\d?)+(?!\\s*(?:%|x|[kMG]i?B|m?s|mm|cm|px|MHz|GHz)\\b)'
const FORMS = [
  // **R1** text · `R1` text · [R1] text · (R1): text · **R1:** text
  { pattern: new RegExp(`^(?:\\*\\*|__|\`|\\[|\\()+(${ID})[:.]?(?:\\*\\*|__|\`|\\]|\\))+(?!\\()\\s*(?:[:.)–—-]\\s*)?([\\s\\S]*)$`), loose: false, open: '' },
  // **R1: Title.** text · **R1 Title** text
  { pattern: new RegExp(`^(?:\\*\\*|__)(${ID})(?:\\s*[:)]\\s*|\\.\\s+|\\s+[–—-]\\s+|\\s+)([\\s\\S]*)$`), loose: false, open: '**' },
  // R1: text · R1. text · R1) text · R1 - text
  { pattern: new RegExp(`^(${ID})(?:\\s*[:)](?:\\s+|$)|\\.(?:\\s+|$)|\\s+[–—-]\\s+)([\\s\\S]*)$`), loose: false, open: '' },
  // R1 text, and R1 alone
  { pattern: new RegExp(`^(${ID})(?:\\s+|$)([\\s\\S]*)$`), loose: true, open: '' },
] as const

interface Match extends ExplicitId { prefix: string; loose: boolean }

function match(text: string): Match | null {
  for (const { pattern, loose, open } of FORMS) {
    const found = pattern.exec(text.trim())
    if (!found?.[1]) continue
    const rest = open === '' ? found[2] ?? '' : (found[2] ?? '').replace(/\*\*|__/, '')
    return { id: found[1], rest: rest.trim(), prefix: found[1].replace(/[-_ ]?\d.*$/, '').toUpperCase(), loose }
  }
  return null
}

/**
 * The prefixes that are ids in this document: the known ones, and any that opens several items with different numbers, as
 * ids do (two when set off by a colon, brackets or bold; three when only a space follows).
 */
export function trustedPrefixes(texts: Iterable<string>): Set<string> {
  const ids = new Map<string, { set: Set<string>; marked: number }>()
  for (const text of texts) {
    const found = match(text)
    if (!found || NEVER.has(found.prefix)) continue
    const entry = ids.get(found.prefix) ?? { set: new Set<string>(), marked: 0 }
    entry.set.add(found.id.toUpperCase())
    if (!found.loose) entry.marked++
    ids.set(found.prefix, entry)
  }
  const trusted = new Set(KNOWN)
  for (const [prefix, { set, marked }] of ids) if (set.size >= 3 || (set.size === 2 && marked >= 2)) trusted.add(prefix)
  return trusted
}

/** The id that opens a text, if its prefix is trusted in this document. */
export function explicitIdOf(text: string, trusted: ReadonlySet<string>): ExplicitId | null {
  const found = match(text)
  return found && (trusted.has(found.prefix) || (KNOWN_WORDS.test(found.id))) ? { id: found.id, rest: found.rest } : null
}

const KNOWN_WORDS = /^(?:Req|Requirement|Feature|Story|Rule)[- ]/
