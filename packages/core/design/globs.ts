/*
 * Whether two scopes can speak of the same file. Scopes are gitignore globs: a pattern without a slash inside matches at any
 * depth, one that matches a folder matches all below it. Exclusions (`!…`) are not counted: two scopes then overlap more often
 * than they do in truth, which costs waiting and never a lost change.
 */

/** Why a scope pattern cannot be used, or null. */
export function scopeProblem(pattern: string): string | null {
  const bare = pattern.replace(/^!/, '')
  if (bare.trim() === '' || /^\/+$/.test(bare)) return 'it is empty'
  if (/[\u0000-\u001f]/.test(bare)) return 'it contains a control character'
  if (/^(?:[A-Za-z]:)?\\/.test(bare) || bare.startsWith('~')) return 'it is not a path inside the repository'
  if (bare.split('/').some((part) => part === '..' || part === '.')) return 'it contains a "." or ".." segment'
  if (/^\/?\.git(?:\/|$)/.test(bare)) return 'git\'s own folder is never in scope'
  return null
}

/** Paths of a scope that name one file each: no wildcard, not a folder by its trailing slash. */
export function literalPaths(scope: readonly string[]): string[] {
  return scope.filter((pattern) => !pattern.startsWith('!') && !/[*?[]/.test(pattern) && !pattern.endsWith('/')).map((pattern) => pattern.replace(/^\//, ''))
}

/**
 * What a ticket is expected to write: the files that its scope names; if it names none, all that its scope allows. A wide glob
 * beside named files is a permission, not a prediction.
 */
export function footprint(scope: readonly string[]): string[] {
  const literal = literalPaths(scope)
  return literal.length > 0 ? literal.map((path) => `/${path}`) : scope.filter((pattern) => !pattern.startsWith('!'))
}

/** A pair of patterns, one of each side, that can match the same path; null if there is none. */
export function overlapOf(one: readonly string[], two: readonly string[]): readonly [string, string] | null {
  for (const left of one) for (const right of two) if (patternsOverlap(left, right)) return [left, right]
  return null
}

export function patternsOverlap(one: string, two: string): boolean {
  if (one === two) return true
  return segmentsMeet(segmentsOf(one), segmentsOf(two))
}

function segmentsOf(pattern: string): string[] {
  const trimmed = pattern.replace(/\/+$/, '')
  const anchored = trimmed.includes('/')
  const parts = trimmed.replace(/^\/+/, '').split('/').filter((part) => part !== '')
  // `*.js` would by the letter match a folder of that name too; what ends like a file name is taken for a file.
  const below = parts.at(-1) === '**' || (!pattern.endsWith('/') && /[^.]\.[A-Za-z]\w*$/.test(trimmed)) ? [] : ['**']
  return [...(anchored ? [] : ['**']), ...parts, ...below]
}

function segmentsMeet(one: readonly string[], two: readonly string[]): boolean {
  const memo = new Map<number, boolean>()
  const meet = (i: number, j: number): boolean => {
    const key = i * (two.length + 1) + j
    const known = memo.get(key)
    if (known !== undefined) return known
    memo.set(key, false)
    const left = one[i]
    const right = two[j]
    let result: boolean
    if (left === undefined && right === undefined) result = true
    else if (left === '**') result = meet(i + 1, j) || (right !== undefined && meet(i, j + 1))
    else if (right === '**') result = meet(i, j + 1) || (left !== undefined && meet(i + 1, j))
    else result = left !== undefined && right !== undefined && wordsMeet(left, right) && meet(i + 1, j + 1)
    memo.set(key, result)
    return result
  }
  return meet(0, 0)
}

/** Two segments with `*`, `?` and classes; a class counts as any one character. */
function wordsMeet(one: string, two: string): boolean {
  const left = tokens(one)
  const right = tokens(two)
  const memo = new Map<number, boolean>()
  const meet = (i: number, j: number): boolean => {
    const key = i * (right.length + 1) + j
    const known = memo.get(key)
    if (known !== undefined) return known
    const a = left[i]
    const b = right[j]
    let result: boolean
    if (a === undefined && b === undefined) result = true
    else if (a === '*') result = meet(i + 1, j) || (b !== undefined && meet(i, j + 1))
    else if (b === '*') result = meet(i, j + 1) || (a !== undefined && meet(i + 1, j))
    else result = a !== undefined && b !== undefined && (a === b || a === '?' || b === '?') && meet(i + 1, j + 1)
    memo.set(key, result)
    return result
  }
  return meet(0, 0)
}

function tokens(segment: string): string[] {
  const found: string[] = []
  for (let index = 0; index < segment.length; index++) {
    const char = segment[index] ?? ''
    if (char === '*') { if (found.at(-1) !== '*') found.push('*') }
    else if (char === '\\' && index + 1 < segment.length) found.push(`=${segment[++index]}`)
    else if (char === '[' && segment.indexOf(']', index + 2) > 0) { found.push('?'); index = segment.indexOf(']', index + 2) }
    else found.push(char === '?' ? '?' : `=${char}`)
  }
  return found
}
