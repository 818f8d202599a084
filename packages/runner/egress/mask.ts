import { Transform } from 'node:stream'

const MASK = 0x2a // *

/**
 * Replaces texts by as many asterisks in what a host answers, so that one that repeats its request does not tell the guest. Lengths
 * stay, and what cannot be the beginning of one of the texts is passed on at once: a stream of events is not held up.
 */
export interface Mask {
  /** A flat list of names and values, as node:http gives and takes it. */
  headers(raw: readonly string[]): string[]
  body(): Transform
}

/** @param texts the longest first */
export function createMask(texts: readonly string[]): Mask {
  const forms = texts.filter((text) => text !== '').map((text) => Buffer.from(text, 'latin1'))
  const longest = Math.max(0, ...forms.map((form) => form.length))
  const cover = (bytes: Buffer): Buffer => {
    for (const form of forms) for (let at = bytes.indexOf(form); at !== -1; at = bytes.indexOf(form, at + form.length)) bytes.fill(MASK, at, at + form.length)
    return bytes
  }
  /** Bytes at the end that may be the beginning of a text. */
  const open = (bytes: Buffer): number => {
    for (let length = Math.min(longest - 1, bytes.length); length > 0; length--) {
      const end = bytes.subarray(-length)
      if (forms.some((form) => form.length > length && form.subarray(0, length).equals(end))) return length
    }
    return 0
  }
  return {
    headers: (raw) => raw.map((text) => cover(Buffer.from(text, 'latin1')).toString('latin1')),
    body() {
      let held: Buffer = Buffer.alloc(0)
      return new Transform({
        transform(chunk: Buffer, _, done) {
          const bytes = cover(Buffer.concat([held, chunk]))
          const kept = open(bytes)
          held = bytes.subarray(bytes.length - kept)
          done(null, bytes.subarray(0, bytes.length - kept))
        },
        flush(done) { done(null, held) },
      })
    },
  }
}
