import { heartbeat } from '@swarm/contract/runner-protocol.ts'
import type { Work, WorkKey } from '@swarm/contract/runner-protocol.ts'
import type { ServerLink } from '../link/server-link.ts'
import type { Reporter } from './reporter.ts'

/** One piece of work that this runner holds. */
export interface Held {
  readonly key: WorkKey
  readonly work: Work
  readonly reporter: Reporter
  /** Aborted to end the work in good order: what was done is saved, then it is given back. */
  readonly stop: AbortController
  /** Aborted when the lease is gone: nothing may be written about this work any more. */
  readonly lost: AbortController
  leaseEndsAtMs: number
}

/** Everything that this runner holds, and the beat that keeps its leases. */
export class Holding implements AsyncDisposable {
  readonly #held = new Map<string, Held>()
  readonly #link: ServerLink
  readonly #ended = new AbortController()
  readonly #onError: (error: unknown) => void
  #timer: NodeJS.Timeout | undefined
  #beating: Promise<void> = Promise.resolve()

  constructor(link: ServerLink, onError: (error: unknown) => void) {
    this.#link = link
    this.#onError = onError
  }

  all(): Held[] { return [...this.#held.values()] }

  add(held: Held): void {
    this.#held.set(held.key.id, held)
    this.#timer ??= setInterval(() => { this.#beat() }, held.work.beatMs)
  }

  remove(held: Held): void {
    if (this.#held.get(held.key.id) === held) this.#held.delete(held.key.id)
    if (this.#held.size === 0) {
      clearInterval(this.#timer)
      this.#timer = undefined
    }
  }

  #beat(): void {
    const now = Date.now()
    for (const held of this.#held.values()) {
      // The server gives the ticket to somebody else from here on: fence ourselves, even when it cannot be reached.
      if (now > held.leaseEndsAtMs) held.lost.abort(new Error('the lease ran out without a heartbeat'))
    }
    this.#beating = this.#send(now).catch(this.#onError)
  }

  async #send(sentAtMs: number): Promise<void> {
    const holding = this.all().map((held) => ({ ...held.key, vmId: null, activityAtMs: held.reporter.lastActivityAtMs }))
    if (holding.length === 0) return
    const { stop } = await this.#link.call(heartbeat, { body: { holding } }, AbortSignal.any([this.#ended.signal, AbortSignal.timeout(10_000)]))
    const stopped = new Map(stop.map(({ id, reason }) => [id, reason]))
    for (const { id, fence } of holding) {
      const held = this.#held.get(id)
      if (held?.key.fence !== fence) continue
      const reason = stopped.get(id)
      // Counted from before the call: the server's clock for this lease started no earlier.
      if (reason === undefined) held.leaseEndsAtMs = sentAtMs + held.work.leaseTtlMs
      else if (reason === 'stale_fence') held.lost.abort(new Error('the lease is gone'))
      else held.stop.abort(new Error(reason))
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer)
    this.#ended.abort()
    await this.#beating
  }
}
