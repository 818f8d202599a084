/** Keeps the first third and the last two thirds of a byte stream under a bound; what is left out in between is stated. */
export class BoundedOutput {
  readonly #headBytes: number
  readonly #tailBytes: number
  #head: Buffer[] = []
  #headLength = 0
  #tail: Buffer[] = []
  #tailLength = 0
  #dropped = 0

  constructor(maxBytes: number) {
    this.#headBytes = Math.floor(maxBytes / 3)
    this.#tailBytes = maxBytes - this.#headBytes
  }

  add(chunk: Buffer): void {
    let rest = chunk
    if (this.#headLength < this.#headBytes) {
      const part = rest.subarray(0, this.#headBytes - this.#headLength)
      this.#head.push(part)
      this.#headLength += part.length
      rest = rest.subarray(part.length)
    }
    if (rest.length === 0) return
    this.#tail.push(rest)
    this.#tailLength += rest.length
    while (this.#tailLength > this.#tailBytes) {
      const first = this.#tail[0]
      if (first === undefined) return
      const excess = Math.min(this.#tailLength - this.#tailBytes, first.length)
      if (excess === first.length) this.#tail.shift()
      else this.#tail[0] = first.subarray(excess)
      this.#tailLength -= excess
      this.#dropped += excess
    }
  }

  /** UTF-8 text; a sequence cut by the bound shows as U+FFFD. */
  text(): string {
    if (this.#dropped === 0) return Buffer.concat([...this.#head, ...this.#tail]).toString('utf8')
    return `${Buffer.concat(this.#head).toString('utf8')}\n[… ${this.#dropped} bytes of output left out …]\n${Buffer.concat(this.#tail).toString('utf8')}`
  }
}

/** Cuts a text for a log line; says how much it cut. */
export function bounded(text: string, maxChars: number): string {
  return text.length <= maxChars ? text : `${text.slice(0, maxChars)}… [${text.length - maxChars} characters more]`
}
