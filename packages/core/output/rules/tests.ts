import { finding, type Rule } from '../finding.ts'
import type { Finding } from '../change.ts'
import { baseName, folderOf, isFixturePath, isProse, type Language } from '../paths.ts'
import { asserts, type Assertion, type TestCase } from '../tests.ts'
import { squeeze, wordsOf, type ChangeView, type FileView } from '../view.ts'

/** What the whole change says about tests: which came, and which words left the product's own code. */
interface TestLedger {
  /** Tests of the head's side of the change that no test of the same name in the same file precedes. */
  readonly newTests: readonly { readonly path: string; readonly test: TestCase }[]
  /** Squeezed lines of new and changed tests. */
  readonly lines: ReadonlySet<string>
  /** Words that lines removed from code outside tests held, and that no file of the change holds any more. */
  readonly wordsGone: ReadonlySet<string>
  /** Stems of files outside tests that the change deleted or renamed: their tests may go with them. */
  readonly sourcesGone: ReadonlySet<string>
  /** Titles of groups (`describe`) that came. */
  readonly groups: ReadonlySet<string>
  /** Words and numbers of the lines added to tests. */
  readonly testWords: ReadonlySet<string>
  /** Functions of the head's side of the change that assert something, wherever they stand. */
  readonly asserting: ReadonlySet<string>
  /** No file of code outside the tests was touched. */
  readonly testsOnly: boolean
}

function ledgerOf(whole: ChangeView): TestLedger {
  const newTests: { path: string; test: TestCase }[] = []
  const lines = new Set<string>()
  const removedWords = new Set<string>()
  const present = new Set<string>()
  const groups = new Set<string>()
  const testWords = new Set<string>()
  const asserting = new Set<string>()
  for (const view of whole.files) {
    for (const each of view.after?.definitions ?? []) if (each.kind === 'function' && each.name.length >= 3 && each.body.some((line) => asserts(line, view.language as Language))) asserting.add(each.name)
    if (view.isTest || view.isFixture || (view.after?.tests.length ?? 0) > 0) for (const { text } of view.added) {
      if (/^\s*(?:\/\/|#|\*|\/\*)/.test(text)) continue
      for (const word of wordsOf(text)) testWords.add(word)
      const group = /(?:describe|suite|context)(?:\.\w+)*\s*\(\s*(['"`])(.{1,300}?)\1/.exec(text.slice(0, 500))
      if (group) groups.add(group[2] as string)
    }
    const oldNames = new Set(view.before?.tests.map((test) => test.name))
    for (const test of view.after?.tests ?? []) if (!oldNames.has(test.name)) newTests.push({ path: view.path, test })
    for (const { text } of view.added) lines.add(squeeze(text))
    if (isProse(view.path)) continue
    const inSource = (view.before?.tests.length ?? 0) > 0 ? new Set(view.before?.tests.flatMap((test) => test.body.map(squeeze))) : null
    if (!view.isTest && !isFixturePath(view.path)) {
      for (const { text } of view.removed) if (!inSource?.has(squeeze(text))) for (const word of wordsOf(text)) if (word.length >= 4) removedWords.add(word)
      for (const word of wordsOf(inSource ? (view.after?.masked.uncommented ?? '') : (view.file.after?.text ?? ''))) present.add(word)
      if (view.file.after === null) for (const word of wordsOf(baseName(view.file.oldPath))) removedWords.add(word)
    }
  }
  const sources = whole.files.filter((view) => view.language !== null && !view.isTest && !isFixturePath(view.path))
  const sourcesGone = new Set(sources.filter((view) => view.file.after === null || view.path !== view.file.oldPath).map((view) => stemOf(view.file.oldPath)))
  return { newTests, lines, sourcesGone, groups, testWords, asserting, testsOnly: sources.length === 0, wordsGone: new Set([...removedWords].filter((word) => !present.has(word))) }
}

function stemOf(path: string): string {
  return baseName(path).replace(/\.[^.]+$/, '').replace(/^test[_-]|[._-](?:tests?|spec)$|(?:Tests?|Spec)$/g, '').toLowerCase()
}

/** A removed test spoke of something that the change removed from the code. */
function explained(body: readonly string[], name: string, ledger: TestLedger): boolean {
  if (ledger.wordsGone.size === 0) return false
  return [...body, name].some((line) => wordsOf(line).some((word) => word.length >= 4 && (ledger.wordsGone.has(word) || [...ledger.wordsGone].some((gone) => gone.length >= 6 && word.toLowerCase().includes(gone.toLowerCase())))))
}

/** Most of the test's lines stand among the added ones: it was moved, renamed or merged into another. */
function movedOn(test: TestCase, ledger: TestLedger, ownLines?: ReadonlySet<string>): boolean {
  const lines = test.body.map(squeeze).filter((line) => /\w/.test(line))
  const asserted = test.assertions.map((assertion) => squeeze(assertion.text))
  if (lines.length === 0) return true
  const kept = (list: readonly string[]) => list.filter((line) => ledger.lines.has(line) || ownLines?.has(line)).length / list.length
  return kept(lines) >= 0.6 && (asserted.length === 0 || kept(asserted) >= 0.5)
}

/**
 * A removed test lives on in a table, a loop or parameters: what it alone of its file spoke of (texts and numbers) stands
 * among the lines added to tests.
 */
function mergedIn(test: TestCase, counts: ReadonlyMap<string, number>, ledger: TestLedger): boolean {
  const own = [...literalsOf(test)].filter((word) => counts.get(word) === 1)
  const left = own.filter((word) => ledger.testWords.has(word)).length
  return (own.length >= 2 || own.some((word) => word.length >= 3)) && left / own.length >= 0.75
}

function literalsOf(test: TestCase): Set<string> {
  return new Set([test.name, ...test.body].flatMap((line) => line.slice(0, 1_000).match(/"[^"]*"|'[^']*'|`[^`]*`|\b\d+\b/g) ?? []).flatMap(wordsOf))
}

/** In how many tests of the list each text and number stands. */
function literalCounts(tests: readonly TestCase[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const test of tests) for (const word of literalsOf(test)) counts.set(word, (counts.get(word) ?? 0) + 1)
  return counts
}

const real = (test: TestCase) => test.assertions.filter((each) => each.strength !== 'trivial').length

/** Deleted test files, removed tests, and what became of those that stayed. */
export const weakenedTests: Rule = function* (whole) {
  const ledger = ledgerOf(whole)
  const unclaimed = new Set(ledger.newTests)
  // A new test replaces one removed test, and no more than one: first by name, then by file, then by likeness of place.
  const claim = (path: string, test: TestCase): boolean => {
    const words = new Set(wordsOf(test.name.toLowerCase()).flatMap((word) => word.split(/_/)))
    const likely = [...unclaimed].map((each) => {
      const same = each.test.name === test.name ? 4 : 0
      const near = each.path === path ? 2 : folderOf(each.path) === folderOf(path) ? 1 : 0
      const shared = wordsOf(each.test.name.toLowerCase()).flatMap((word) => word.split(/_/)).filter((word) => words.has(word)).length / Math.max(1, words.size)
      const weight = real(each.test) >= real(test) || real(test) === 0 || real(each.test) >= 2 ? 1 : real(each.test) === 0 ? -9 : -1
      return { each, score: same + near + shared + weight }
    }).sort((a, b) => b.score - a.score)[0]
    if (!likely || likely.score < 2) return false
    unclaimed.delete(likely.each)
    return true
  }
  for (const view of whole.files) {
    if (view.isFixture || view.isGenerated || !view.before || (view.before.tests.length === 0 && view.before.groupMarks.length === 0 && !view.after)) continue
    const gone = goneTests(view)
    const counts = gone.length > 0 && ledger.testWords.size > 0 ? literalCounts(view.before.tests) : new Map<string, number>()
    const unexplained = gone.filter((test) => !movedOn(test, ledger) && !ledger.groups.has(test.name) && !mergedIn(test, counts, ledger) && !claim(view.path, test)).filter((test) => !explained(test.body, test.name, ledger))
    if (unexplained.length > 0) {
      const all = view.file.after === null
      const shown = unexplained.slice(0, 4).map((test) => `"${test.name}"`).join(', ')
      const benign = (all && ledger.sourcesGone.has(stemOf(view.file.oldPath))) || unexplained.every((test) => test.assertions.length === 0 && test.body.length <= 1) || unexplained.every((test) => test.skipped)
      const newInFile = view.after?.tests.filter((test) => !view.before?.tests.some((old) => old.name === test.name)).length ?? 0
      // Tests are regrouped now and then: many went, nearly as many came, and the file did not shrink.
      const sum = (tests: readonly TestCase[]) => tests.reduce((count, test) => count + real(test), 0)
      const sameWeight = !all && newInFile > 0 && sum(view.after?.tests ?? []) >= sum(view.before.tests)
      const regrouped = sameWeight || !all && newInFile >= gone.length * 0.5 && view.added.length >= view.removed.length * 0.8
      const large = !all && view.added.length > view.removed.length * 1.5 && view.added.length > 20
      yield finding(all ? 'test_file_deleted' : 'tests_removed', benign || regrouped || large ? 'warning' : 'error', view.path, all ? null : (unexplained[0]?.line ?? null), `${unexplained.length} ${unexplained.length === 1 ? 'test' : 'tests'} of ${view.before.tests.length} went without a replacement: ${shown}${unexplained.length > 4 ? ', …' : ''}.`)
    }
    if (view.after) yield* keptTests(view, ledger)
    if (view.after) yield* marks(view)
  }
  for (const view of whole.files) if (view.before === null && view.after && view.isTest) yield* newTestFile(view)
}

function goneTests(view: FileView): TestCase[] {
  const left = new Map<string, number>()
  for (const test of view.after?.tests ?? []) left.set(test.name, (left.get(test.name) ?? 0) + 1)
  return (view.before?.tests ?? []).filter((test) => {
    const count = left.get(test.name) ?? 0
    left.set(test.name, count - 1)
    return count <= 0
  })
}

function* marks(view: FileView): Iterable<Finding> {
  for (const kind of ['skip', 'only'] as const) {
    const old = view.before?.groupMarks.filter((mark) => mark.kind === kind).length ?? 0
    const now = view.after?.groupMarks.filter((mark) => mark.kind === kind) ?? []
    const fresh = now.length > old ? now.find((mark) => view.added.some(({ line }) => Math.abs(line - mark.line) <= 2)) : undefined
    if (fresh) yield finding(kind === 'skip' ? 'test_skipped' : 'test_focused', 'error', view.path, fresh.line, `"${fresh.text.slice(0, 60)}" keeps tests from running.`)
  }
}

function* newTestFile(view: FileView): Iterable<Finding> {
  const tests = view.after?.tests ?? []
  for (const test of tests) {
    if (test.focused) yield finding('test_focused', 'error', view.path, test.line, `Only "${test.name}" would run.`)
    if (test.skipped) yield finding('test_skipped', 'warning', view.path, test.line, `The new test "${test.name}" is skipped.`)
    if (test.assertions.length > 0 && real(test) === 0) yield finding('assertion_trivial', 'warning', view.path, test.line, `The new test "${test.name}" cannot fail.`)
  }
}

function* keptTests(view: FileView, ledger: TestLedger): Iterable<Finding> {
  const seen = new Map<string, TestCase[]>()
  for (const test of view.before?.tests ?? []) seen.set(test.name, [...(seen.get(test.name) ?? []), test])
  for (const test of view.after?.tests ?? []) {
    const old = seen.get(test.name)?.shift()
    if (test.focused && !old?.focused) yield finding('test_focused', 'error', view.path, test.line, `Only "${test.name}" would run.`)
    if (!old) {
      if (test.skipped) yield finding('test_skipped', 'warning', view.path, test.line, `The new test "${test.name}" is skipped.`)
      continue
    }
    if (test.skipped && !old.skipped) yield finding('test_skipped', 'error', view.path, test.line, `"${test.name}" does not run any more.`)
    if (test.leftAtOnce && !old.leftAtOnce) yield finding('test_skipped', 'error', view.path, test.line, `"${test.name}" returns before it tests anything.`)
    if (old.body.join('\n') !== test.body.join('\n')) yield* compare(view, old, test, ledger)
  }
}

function* compare(view: FileView, old: TestCase, test: TestCase, ledger: TestLedger): Iterable<Finding> {
  const testsOnly = ledger.testsOnly
  const oldLines = new Set(old.body.map(squeeze))
  const nowLines = new Set(test.body.map(squeeze))
  const added = test.body.filter((line) => !oldLines.has(squeeze(line)))
  const lostAssertions = old.assertions.filter((each) => each.strength !== 'trivial' && !nowLines.has(squeeze(each.text)))
  const newAssertions = test.assertions.filter((each) => !oldLines.has(squeeze(each.text)))
  const before = real(old)
  const after = real(test)
  if (newAssertions.some((each) => each.strength === 'trivial') && lostAssertions.length > 0 && after < before) {
    yield finding('assertion_trivial', 'error', view.path, test.line, `"${test.name}" asserts what cannot fail: ${newAssertions.find((each) => each.strength === 'trivial')?.text.slice(0, 80)}`)
    return
  }
  if (lostAssertions.length === 0) return
  const elsewhere = lostAssertions.filter((each) => ledger.lines.has(squeeze(each.text)) || explained([each.text], '', ledger))
  const unexplained = lostAssertions.length - elsewhere.length
  const parametrised = view.added.some(({ line, text }) => line <= test.line && line > test.line - 40 && /parametri[sz]e|fixture|@(?:CsvSource|ValueSource|MethodSource|data_?provider)|\.each\b/i.test(text))
  const helped = added.some((line) => (line.slice(0, 1_000).match(/[\w$]+(?=\s*!?\()/g) ?? []).some((name) => ledger.asserting.has(name)))
  const callsInstead = parametrised || helped || added.some((line) => /\b\w*(?:check|verify|assert|expect|validate|test|compare|run|should|must|ensure|match)\w*\s*(?:::<[^>]*>)?[!(]/i.test(line) || /\bfor\b|\.forEach|\.each|range\b|parametri[sz]e/.test(line))
  if (after < before && unexplained > 0) {
    const lostAll = after === 0 && !callsInstead
    // One of many goes now and then with the behaviour that it watched; half of them, three, or tests alone do not.
    const much = unexplained >= 3 || unexplained >= before / 2 || testsOnly
    const noneInstead = much && newAssertions.length === 0 && !callsInstead && added.length < Math.max(1, unexplained)
    const half = after <= before / 2 && before - after >= 3 && !callsInstead && newAssertions.length === 0
    yield finding('assertions_removed', lostAll || noneInstead || half ? 'error' : 'warning', view.path, test.line, `"${test.name}" has ${after} ${after === 1 ? 'assertion' : 'assertions'} instead of ${before}.`)
    if (lostAll || noneInstead || half) return
  }
  const strictLost = lostAssertions.filter((each) => each.strength === 'strict' && !comparesTruth(each.text))
  const looseCame = newAssertions.filter((each) => each.strength === 'loose' && strictLost.some((lost) => sharesSubject(lost.text, each.text)) && !lostAssertions.some((lost) => lost.strength === 'loose' && sharesSubject(lost.text, each.text)))
  const strictCame = newAssertions.filter((each) => each.strength === 'strict').length
  // Two of the same kind may be paired wrongly (a helper was renamed): what counts is whether there are more of it.
  const count = (side: TestCase, is: (each: Assertion) => boolean) => side.assertions.filter(is).length
  const isLoose = (each: Assertion) => each.strength === 'loose'
  const isEmptied = (each: Assertion) => EMPTY_EXPECTATION.test(each.text.slice(0, 1_000))
  if (looseCame.length > 0 && strictCame < strictLost.length && count(test, isLoose) > count(old, isLoose)) {
    yield finding('assertion_weakened', 'error', view.path, test.line, `"${test.name}" compares less strictly: ${looseCame[0]?.text.slice(0, 100)}`)
    return
  }
  const emptied = count(test, isEmptied) > count(old, isEmptied) ? newAssertions.find((each) => isEmptied(each) && lostAssertions.some((lost) => !isEmptied(lost) && !EXPECTS_ABSENCE.test(lost.text.slice(0, 1_000)) && sharesSubject(lost.text, each.text))) : undefined
  if (emptied) yield finding('assertion_weakened', ledger.wordsGone.size === 0 ? 'error' : 'warning', view.path, test.line, `"${test.name}" expects nothing now: ${emptied.text.slice(0, 100)}`)
  else if (newAssertions.length > 0) yield finding('expectation_changed', 'warning', view.path, test.line, `"${test.name}" expects something else: ${newAssertions[0]?.text.slice(0, 100)}`)
}

/** That something is not there can be said as false, as nought or as an empty list. */
const EXPECTS_ABSENCE = /[(,]\s*(?:false|False|0|null|undefined|None|nil)\s*\)|(?:\bis|==)\s*(?:None|False|0)\s*$/

const EMPTY_EXPECTATION = /(?:\.to(?:Equal|StrictEqual|Be|Contain|Match(?:Object)?)|[eE]quals?|deepEqual|same|assert_eq!|EXPECT_EQ|ASSERT_EQ|is)\s*\((?:.*,\s*)?\s*(?:\[\s*\]|\{\s*\}|''|""|``|expect\.any(?:thing)?\(.*\)|\/\.\*\/|undefined|null|None|nil|\(\))\s*\)|==\s*(?:\[\]|\{\}|''|""|None)\s*$/

function comparesTruth(text: string): boolean {
  return /\b(?:true|false|null|nil|None|True|False|undefined|NULL|nullptr|len|length|size|is_some|is_ok)\b|\.toBe\(\s*(?:true|false|null|undefined)|\btype\(|\btypeof\b|isinstance|instanceof|\.test\(|\.(?:not[A-Z]\w*|doesNot\w*)\(|\bt\.(?:Error|Fatal)|!==?\s*(?:nil|null|None)|is None/.test(text)
}

/** Two assertions are about the same thing: they share most of the words of the shorter one's subject. */
function sharesSubject(a: string, b: string): boolean {
  const subject = (text: string) => new Set(wordsOf(text).filter((word) => !/^(?:expect|assert\w*|to[A-Z]\w*|not|t|self|equal|deepEqual|strictEqual|ok|toBe|is|None|true|True|require|Equal|NotNil|NotEmpty|EXPECT_\w+|ASSERT_\w+|the|const|await|async|assert_eq|any|anything|is_ok|is_some|isinstance|Number|String|Object|Array|truthy|same|len|\d+)$/.test(word)))
  const [x, y] = [subject(a), subject(b)]
  const shared = [...y].filter((word) => x.has(word)).length
  return y.size > 0 && shared / y.size >= 0.6
}

/** Snapshots that were written anew, or taken away. */
export const snapshots: Rule = function* ({ files }) {
  for (const view of files) {
    if (!/\.(?:snap|approved\.\w+|ambr)$|(?:^|\/)__snapshots__\//.test(view.path) || view.file.before === null) continue
    yield finding('snapshot_changed', 'warning', view.path, view.added[0]?.line ?? null, view.file.after === null ? `The snapshot ${view.path} was deleted.` : `The snapshot ${view.path} changed in ${view.added.length} lines.`)
  }
}
