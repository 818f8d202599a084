/**
 * The files that a ticket is expected to write: the literal paths of its scope and those named in its text. A glob in the
 * scope is a permission, not a prediction: most tickets that may touch `src/**` never meet.
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

/** Files that both lists name. */
export function overlap(a: readonly string[], b: readonly string[]): string[] {
  const other = new Set(b)
  return a.filter((path) => other.has(path))
}
