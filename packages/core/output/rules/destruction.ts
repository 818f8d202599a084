import { finding, type Rule } from '../finding.ts'
import type { Definition } from '../definitions.ts'
import { linesOf } from '../lines.ts'
import { isChronicle, isData, isLockfile, isProse, isTestMaterial } from '../paths.ts'
import { keptShare, lostLines, squeeze } from '../view.ts'

/** Removed names and files that the head still uses: the surest sign that a file was cut and not cleaned. */
export const stillInUse: Rule = function* ({ options, files }) {
  const byFile = new Map<string, { names: Map<string, { usedIn: string; line: number }>; certain: boolean }>()
  for (const use of options.dangling ?? []) {
    const entry = byFile.get(use.from) ?? { names: new Map(), certain: false }
    if (!entry.names.has(use.name)) entry.names.set(use.name, { usedIn: use.usedIn, line: use.line })
    entry.certain ||= use.certain
    byFile.set(use.from, entry)
  }
  for (const [from, { names, certain }] of byFile) {
    const view = files.find((each) => each.file.oldPath === from)
    const shown = [...names].slice(0, 5).map(([name, use]) => `${name} (${use.usedIn}:${use.line})`).join(', ')
    // A bare word that looks used may be another thing of that name: alone it only warns.
    const grave = certain || (names.size >= 3 && (view?.removed.length ?? 0) > 3 * (view?.added.length ?? 0))
    yield finding('still_in_use', grave ? 'error' : 'warning', view?.path ?? from, null, `${from} no longer holds what is still used: ${shown}${names.size > 5 ? ` and ${names.size - 5} more` : ''}.`)
  }
}

/**
 * How much of each file went for good. Lines that were moved, reformatted or renamed are not lost; a file may shrink by
 * honest removal of parts that nothing uses, which shows as a pure deletion without dangling uses.
 */
export const deletedContent: Rule = function* (whole) {
  const dangling = new Set((whole.options.dangling ?? []).map((use) => use.from))
  for (const view of whole.files) {
    const { before, after } = view.file
    if (before?.text == null || after?.text == null || view.onlyReformatted || isLockfile(view.path)) continue
    const oldLines = linesOf(before.text).filter((text) => /\w/.test(text)).length
    const newLines = linesOf(after.text).filter((text) => /\w/.test(text)).length
    if (oldLines < 8) continue
    const kept = keptShare(view, whole)
    if (newLines === 0) {
      if (kept < 0.7) yield finding('file_emptied', view.isGenerated || view.isFixture ? 'warning' : 'error', view.path, null, `${view.path} lost all of its ${oldLines} lines.`)
      continue
    }
    if (view.isGenerated || view.isFixture) continue
    const lost = lostLines(view, whole)
    const share = lost.length / oldLines
    const shrink = 1 - newLines / oldLines
    const where = lost[0]?.line ?? null
    const cameInstead = view.added.filter(({ text }) => squeeze(text) !== '').length / Math.max(1, lost.length)
    const shown = `${view.path} lost ${lost.length} of ${oldLines} lines for ${view.added.length} new ones`
    const definitionsBefore = view.before?.definitions.filter((each) => each.topLevel) ?? []
    const namesNow = new Set(view.after?.definitions.map((each) => each.name))
    const removedDefinitions = definitionsBefore.filter((each) => !namesNow.has(each.name)).length
    // Parts that nothing uses any more, cut out whole: removed definitions, nothing dangling, and little written instead.
    const honest = removedDefinitions > 0 && !dangling.has(view.file.oldPath) && removedDefinitions < definitionsBefore.length && cameInstead < 0.15
    const gutted = shrink >= 0.6 && share >= 0.6 && kept < 0.5 && oldLines >= 20
    const beheaded = lost.length >= 250 && share >= 0.5 && cameInstead < 0.34 && kept < 0.6
    // One cut through the middle, with nothing written instead: what a truncated view of a file leaves.
    const first = view.removed[0]?.line ?? 0
    const tail = view.added.length === 0 && share >= 0.3 && lost.length >= 30 && view.removed.length === linesOf(before.text).length - first + 1
    if (tail && view.language !== null && !view.isTest && !isTestMaterial(view.path)) {
      yield finding('file_gutted', 'error', view.path, where, `${shown}: it was cut off at line ${first}.`)
    } else if (gutted || beheaded) {
      // Documents, data and settings are written anew and thinned out every day. A document of which only the beginning is left was cut.
      const cut = view.added.length <= 1 && view.removed.length === linesOf(before.text).length - first + 1 && !isChronicle(view.path)
      const spared = isProse(view.path) ? !cut || kept > 0.2 || oldLines < 60 : isData(view.path) || (honest && kept > 0.15)
      yield finding('file_gutted', spared || (isTestMaterial(view.path) && !view.isTest) ? 'warning' : 'error', view.path, where, `${shown}.`)
    } else if (share >= 0.8 && kept < 0.35 && oldLines >= 40) yield finding('file_rewritten', 'warning', view.path, where, `${shown}: it was written anew.`)
    else if (lost.length >= 100 && share >= 0.4 && cameInstead < 0.5) yield finding('large_deletion', 'warning', view.path, where, `${shown}.`)
  }
}

const ELISION = new RegExp([
  '\\.\\.\\.\\s*\\(?\\s*(?:the\\s+)?(?:rest|remaining|remainder|existing|previous|other|same|unchanged|omitted|truncated|snip|keep|original)\\b',
  '\\b(?:rest|remainder) of (?:the |this )?(?:\\w+ ){0,3}?(?:is |are |remains? |stays? |as )?(?:unchanged|the same|here|as (?:before|is)|omitted|goes here|not shown|continues)',
  '\\b(?:existing|previous|original|remaining|other|rest of(?: the)?)\\s+(?:\\w+\\s+)?(?:code|implementation|methods?|functions?|content|imports?|lines|tests?|file|logic)\\s*(?:\\.\\.\\.|…|(?:is |are |remains? |stays? )?(?:unchanged|omitted|as before|goes? here|the same|truncated|stays? here|above|below)\\b\\s*(?:\\.\\.\\.|…|$|\\*/|-->))',
  '(?:\\.\\.\\.|…).*\\b(?:unchanged|omitted|truncated|as before|same as (?:before|above)|for brevity|remains? (?:the same|unchanged))\\b',
  '^\\W*(?:omitted for brevity|truncated for brevity|code omitted)\\W*$', '\\b(?:omitted|truncated) for brevity',
  '\\[(?:\\.\\.\\.|…)\\s*(?:truncated|omitted|\\d+ (?:more )?lines)', '\\b\\d+ (?:more )?lines (?:truncated|omitted|unchanged|not shown)',
].join('|'), 'i')
const COMMENT = /^\s*(?:\/\/|#|\/\*|\*|<!--|--|;|%|\{\/\*|""")|^\s*(?:\[|\()?(?:\.\.\.|…)/

/** Comments that stand where code stood: "// ... rest of the file unchanged". */
export const elidedCode: Rule = function* (whole) {
  for (const view of whole.files) {
    if (view.isFixture || view.file.after?.text == null) continue
    const lost = lostLines(view, whole).length
    for (const { text, line } of view.added) {
      const bare = text.length < 400 && /^(?:\/\/|#|\/\*|<!--)?\s*(?:\.\.\.|…)\s*(?:\*\/|-->)?$/.test(text.trim())
      const marker = text.length < 400 && text.trim().length < 140 && COMMENT.test(text) && ELISION.test(text)
      if (!marker && !(bare && view.language !== null && view.language !== 'python' && lost >= 5 && !inComment(view.file.after.text, line))) continue
      if (isProse(view.path) && lost < 10) continue
      const grave = lost >= 3 || (marker && /(?:\.\.\.|…)/.test(text) && view.file.status !== 'added' && !isTestMaterial(view.path))
      yield finding('code_elided', grave ? 'error' : 'warning', view.path, line, `A comment stands where code should be: ${text.trim().slice(0, 80)}`)
      break
    }
  }
}

function ordinals(definitions: readonly Definition[]): Map<string, Definition> {
  const counts = new Map<string, number>()
  for (const each of definitions) counts.set(each.name, (counts.get(each.name) ?? 0) + 1)
  const seen = new Map<string, number>()
  return new Map(definitions.map((each) => {
    const ordinal = (seen.get(each.name) ?? 0) + 1
    seen.set(each.name, ordinal)
    return [`${each.name} ${ordinal} of ${counts.get(each.name)}`, each]
  }))
}

/** The line above is a comment too: what stands here is part of its text. */
function inComment(text: string, line: number): boolean {
  return /^\s*(?:\/\/|#|\*|\/\*|--)/.test(linesOf(text)[line - 2] ?? '')
}

const STUB = /^(?:throw\s+(?:new\s+)?\w*(?:Error|Exception)?\(?\s*["'`]?.*(?:not.{0,3}implemented|unimplemented|todo|stub).*|raise\s+NotImplementedError\b.*|todo!\(.*\);?|unimplemented!\(.*\);?|panic!?\(\s*["'`].*(?:not.{0,3}implemented|todo|stub|unimplemented).*|pass|\.\.\.|return;?|return\s+(?:null|undefined|None|nil|true|false|True|False|0|-1|""|''|``|\[\]|\{\}|\(\)|nil,\s*nil|Ok\(\(\)\)|Default::default\(\)|nullptr|NULL|Promise\.resolve\([^)]*\)|std::string\(\)|"",\s*nil|0,\s*nil|false,\s*nil)\s*;?|Ok\(\(\)\)|None|Default::default\(\)|vec!\[\]|String::new\(\)|false|true|0)$/i
const STUB_NAMED = /not.{0,3}implemented|todo!|unimplemented/i
const MIN_BODY = 4

/** Functions whose body became a placeholder, or nothing. */
export const stubbedBodies: Rule = function* (whole) {
  for (const view of whole.files) {
    if (!view.before || !view.after || view.isFixture || view.isGenerated) continue
    const now = new Map<string, { line: number; kind: string; body: readonly string[]; text: readonly string[] }>()
    // Methods of several classes may share a name: the nth of the old is the nth of the new, if their number stayed.
    const before = ordinals(view.before.definitions)
    const after = ordinals(view.after.definitions)
    const rows = linesOf(view.after.masked.uncommented)
    for (const [key, each] of after) {
      const body = each.body
      now.set(key, { line: each.line, kind: each.kind, body, text: rows.slice(each.line - 1, each.line + 12) })
    }
    let stubs = 0
    for (const [key, old] of before) {
      if (old.kind !== 'function') continue
      const current = now.get(key)
      if (current?.kind !== 'function' || old.body.length < MIN_BODY || current.body.length > 2) continue
      const statements = current.body.filter((line) => !/^["'`\s]*$/.test(line))
      const named = current.text.slice(0, 4).some((line) => STUB_NAMED.test(line))
      const stub = statements.length === 0 || (statements.length === 1 && (STUB.test((statements[0] as string).slice(0, 300)) || named))
      if (!stub || old.body.length < 3 + statements.length) continue
      const explained = view.added.some(({ text }) => /deprecat|no-?op\b|no longer|legacy|backwards? compat/i.test(text))
      stubs++
      if (stubs <= 10) yield finding('body_stubbed', explained && !named ? 'warning' : 'error', view.path, current.line, `The body of ${old.name} (${old.body.length} lines) became ${statements.length === 0 ? 'empty' : `"${(statements[0] as string).slice(0, 60)}"`}.`)
    }
  }
}
