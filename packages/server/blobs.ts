import type { Readable } from 'node:stream'

/** `sha256:<64 hex digits>`: the address of a blob, and the proof that it is the right one. */
export type BlobDigest = string

/** Large things (transcripts, diffs, logs, evidence) by the SHA-256 of their content; rows keep the digest. */
export interface BlobStore {
  /** Keeps the content, durably, before it resolves; the same content twice is one blob. */
  put(content: Buffer | string | Readable): Promise<{ digest: BlobDigest, sizeBytes: number }>
  /** @throws DomainError `blob_not_found` */
  get(digest: BlobDigest): Promise<Buffer>
  /** For contents that need not be in memory. @throws DomainError `blob_not_found` */
  stream(digest: BlobDigest): Promise<Readable>
  has(digest: BlobDigest): Promise<boolean>
  /** Nothing happens when there is none. */
  delete(digest: BlobDigest): Promise<void>
  /** Removes it unless it was kept, or kept again, since `before` (ms since the epoch). @returns whether it is gone */
  deleteOlder(digest: BlobDigest, before: number): Promise<boolean>
  /** All of them, in no order; `keptAt`: when it was last kept, ms since the epoch. */
  list(): AsyncIterable<{ digest: BlobDigest, sizeBytes: number, keptAt: number }>
}
