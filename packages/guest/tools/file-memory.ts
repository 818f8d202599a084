import { createHash } from 'node:crypto'

/**
 * Which files the model has seen whole, and in which version. A file may be replaced whole only while the version on disk is
 * one that the model has seen from first to last byte and still has in its context: agents that rewrote files which they had
 * seen truncated deleted most of them.
 */
export class FileMemory {
  readonly #seen = new Map<string, { digest: string; callId: string }>()

  /** The call `callId` showed the model the whole `content` of the file (or wrote it). */
  sawWhole(file: string, content: string | Buffer, callId: string): void {
    this.#seen.set(file, { digest: digestOf(content), callId })
  }

  knows(file: string, content: string | Buffer): boolean {
    return this.#seen.get(file)?.digest === digestOf(content)
  }

  /** What the call showed was elided from the context. */
  forgetCall(callId: string): void {
    for (const [file, entry] of this.#seen) if (entry.callId === callId) this.#seen.delete(file)
  }
}

function digestOf(content: string | Buffer): string {
  return createHash('sha256').update(content).digest('hex')
}
