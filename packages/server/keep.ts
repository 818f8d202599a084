/**
 * Keeps what a function of immutable things (a commit of a repository) came to, so that git is not started for it again. A
 * failure is not kept. The least recently used go first.
 * @param keyOf what the result depends on, all of it
 * @param most results kept; a plan or a description is some KB
 */
export function keep<Arguments extends readonly unknown[], Result>(
  read: (...given: Arguments) => Promise<Result>, keyOf: (...given: NoInfer<Arguments>) => string, most = 256,
): (...given: Arguments) => Promise<Result> {
  const kept = new Map<string, Promise<Result>>()
  return (...given) => {
    const key = keyOf(...given)
    const known = kept.get(key)
    kept.delete(key)
    const result = known ?? read(...given)
    kept.set(key, result)
    if (known === undefined) result.catch(() => { kept.delete(key) })
    if (kept.size > most) kept.delete(kept.keys().next().value ?? '')
    return result
  }
}
