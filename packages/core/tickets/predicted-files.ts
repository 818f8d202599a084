/** Paths relative to the repository's root that a ticket is expected to write, each with how likely: 1 is as good as known. */
export type ExpectedFiles = Readonly<Record<string, number>>

/** Of the changes that touched `path`, `changes` in all, `together` also touched `other`. */
export interface CoChange { readonly path: string; readonly other: string; readonly together: number; readonly changes: number }

/** Two files must have met this often before it means anything: below, a share says more about chance than about the files. */
const LEAST_TOGETHER = 3
/** A file that follows another one less often than every second time is rather not written: a wait for it would mostly be in vain. */
const LEAST_SHARE = 0.5
/** What history suggests is never as sure as what somebody declared, named or really wrote. */
const CO_CHANGE_WEIGHT = 0.8
/** A change of more files is a sweep (formatting, a rename, an import): it says nothing about which of them belong together. */
const MOST_FILES_TO_LEARN_FROM = 20

/** Longest that a sure overlap delays a ticket, ms: about the time limit of an attempt. A likely overlap delays by its share of this. */
const LONGEST_DELAY_MS = 30 * 60_000
/**
 * A change that waits for a person blocks others for this long, ms. People who are there decide within minutes; when nobody is,
 * a conflict that the merge queue finds tomorrow costs one attempt, a night of waiting costs the night.
 */
export const REVIEW_PATIENCE_MS = 5 * 60_000

/**
 * The files that a ticket is expected to write by its own words: the literal paths of its scope and those named in its text.
 * A glob in the scope is a permission, not a prediction: most tickets that may touch `src/**` never meet.
 * @returns sorted paths without duplicates, relative to the repository's root
 */
export function predictFiles(ticket: { readonly scope: readonly string[]; readonly title: string; readonly description: string }): string[] {
  const found = new Set<string>()
  for (const pattern of ticket.scope) {
    const path = pattern.replace(/^\.?\//, '')
    if (path !== '' && !path.startsWith('!') && !path.endsWith('/') && !/[*?[\]{}]/.test(path)) found.add(path)
  }
  for (const match of `${ticket.title}\n${ticket.description}`.matchAll(NAMED_FILE)) found.add(match[1]!.replace(/^\.\//, ''))
  return [...found].toSorted()
}

/** A path with a slash and an extension, or in backquotes with an extension. Not a URL, not a version. */
const NAMED_FILE = /(?<![\w/:.@-])((?:\.\/)?(?:[\w@.-]+\/)+[\w@.-]+\.[a-z][\w]{0,9})(?![\w/])/g

/** The sure files, and with them those that history says change along, each as likely as it did so far. */
export function expectFiles(sure: readonly string[], history: readonly CoChange[]): ExpectedFiles {
  const expected: Record<string, number> = Object.fromEntries(sure.map((path) => [path, 1]))
  const known = new Set(sure)
  for (const { path, other, together, changes } of history) {
    if (!known.has(path) || known.has(other) || together < LEAST_TOGETHER) continue
    const share = Math.min(1, together / changes)
    if (share >= LEAST_SHARE) expected[other] = Math.max(expected[other] ?? 0, share * CO_CHANGE_WEIGHT)
  }
  return expected
}

/** The files that are as good as known. */
export function sureFiles(expected: ExpectedFiles): string[] {
  return Object.keys(expected).filter((path) => expected[path]! >= 1)
}

/** Files that both are expected to write, the likeliest first, and how likely it is that they really meet. */
export function overlap(a: ExpectedFiles, b: ExpectedFiles): { readonly files: string[]; readonly likelihood: number } {
  const shared = Object.keys(a).flatMap((path) => b[path] === undefined ? [] : [{ path, likelihood: a[path]! * b[path] }])
  shared.sort((left, right) => right.likelihood - left.likelihood || (left.path < right.path ? -1 : 1))
  return { files: shared.map(({ path }) => path), likelihood: shared[0]?.likelihood ?? 0 }
}

/**
 * Whether an overlap still delays. It always ends by itself, so that it can delay but neither deadlock nor starve: only an
 * active ticket delays, one in review for a few minutes, and nobody waits longer than the longest delay.
 * @param waitedMs since the ticket could have been claimed
 * @param other its state, and for how long it has been in it
 */
export function stillDelays(likelihood: number, waitedMs: number, other: { readonly state: string; readonly sinceMs: number }): boolean {
  if (other.state === 'in_review' && other.sinceMs >= REVIEW_PATIENCE_MS) return false
  return waitedMs < likelihood * LONGEST_DELAY_MS
}

/** The pairs that a merged change teaches, each file with itself too; none when it is empty or a sweep. */
export function pairsOf(paths: readonly string[]): [path: string, other: string][] {
  const files = [...new Set(paths)].toSorted()
  if (files.length > MOST_FILES_TO_LEARN_FROM) return []
  return files.flatMap((path) => files.map((other): [string, string] => [path, other]))
}

/** What a history of changes teaches at once: the pairs that met often enough to count, each file's own number with them, the commonest first. */
export function frequentPairs(changes: readonly (readonly string[])[], most: number): { path: string; other: string; together: number }[] {
  const counts = new Map<string, { path: string; other: string; together: number }>()
  for (const change of changes) {
    for (const [path, other] of pairsOf(change)) {
      const key = `${path}\0${other}`
      const known = counts.get(key)
      if (known) known.together += 1
      else counts.set(key, { path, other, together: 1 })
    }
  }
  // A pair never meets more often than its file changes, so that files come before their pairs.
  return [...counts.values()].filter(({ together }) => together >= LEAST_TOGETHER)
    .sort((a, b) => b.together - a.together || Number(b.path === b.other) - Number(a.path === a.other)).slice(0, most)
}
