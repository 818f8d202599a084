/**
 * A value that does not print: string conversion, JSON and inspection all give `[secret]`. `reveal()` is the one way to
 * it, so that the places where a secret leaves are found by searching for that word.
 */
export class Secret {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
  }

  reveal(): string {
    return this.#value
  }

  toString(): string {
    return '[secret]'
  }

  toJSON(): string {
    return '[secret]'
  }

  /** What console.log and node:util inspect show. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return '[secret]'
  }
}
