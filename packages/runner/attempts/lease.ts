/**
 * A lease as its holder sees it, counted from before the call that gave or renewed it: the server's count started no earlier,
 * so it is over here first. It is over as soon as either clock says so: the wall clock goes on while a host sleeps, the
 * monotonic one is never set back, and both go on while the process is stopped.
 */
export class Lease {
  readonly #ttlMs: number
  #wallMs = 0
  #monotonicMs = 0

  constructor(ttlMs: number, since: Instant) {
    this.#ttlMs = ttlMs
    this.renew(since)
  }

  renew(since: Instant): void {
    this.#wallMs = since.wallMs
    this.#monotonicMs = since.monotonicMs
  }

  /** ms until it is over; negative after. */
  leftMs(): number {
    const { wallMs, monotonicMs } = instant()
    return this.#ttlMs - Math.max(wallMs - this.#wallMs, monotonicMs - this.#monotonicMs)
  }
}

export interface Instant { readonly wallMs: number; readonly monotonicMs: number }

export function instant(): Instant {
  return { wallMs: Date.now(), monotonicMs: performance.now() }
}
