/**
 * The Headers that the SDK works with, in place of Node's: the first use of that one loads all of undici, half of what the
 * start of this program costs. Names are compared in lower case; values of one name are joined by ", ".
 */
class LightHeaders {
  readonly #values = new Map<string, string>()

  constructor(init: Iterable<readonly [string, string]> | Record<string, string> = []) {
    for (const [name, value] of Symbol.iterator in init ? init as Iterable<readonly [string, string]> : Object.entries(init)) this.append(name, value)
  }

  append(name: string, value: string): void {
    const before = this.get(name)
    this.set(name, before === null ? value : `${before}, ${value}`)
  }
  set(name: string, value: string): void { this.#values.set(name.toLowerCase(), String(value).trim()) }
  get(name: string): string | null { return this.#values.get(name.toLowerCase()) ?? null }
  has(name: string): boolean { return this.#values.has(name.toLowerCase()) }
  delete(name: string): void { this.#values.delete(name.toLowerCase()) }
  forEach(callback: (value: string, name: string) => void): void { for (const [name, value] of this) callback(value, name) }
  entries(): IterableIterator<[string, string]> { return [...this.#values].sort(([a], [b]) => (a < b ? -1 : 1))[Symbol.iterator]() }
  keys(): IterableIterator<string> { return [...this].map(([name]) => name)[Symbol.iterator]() }
  values(): IterableIterator<string> { return [...this].map(([, value]) => value)[Symbol.iterator]() }
  [Symbol.iterator](): IterableIterator<[string, string]> { return this.entries() }
}

/**
 * Replaces the globals of undici that the SDK touches, in this process, in which the SDK alone uses them (node:http is what
 * sends the headers, and judges them). FormData is only asked whether a body is one; none is ever made.
 */
export function useLightGlobals(): void {
  // By assignment: defineProperty first evaluates the lazy property that is there, which loads undici after all.
  Object.assign(globalThis, { Headers: LightHeaders, FormData: class FormData {} })
}
