import { heartbeat, MAX_USAGE } from '@swarm/contract/runner-protocol.ts'
import type { VmUsage, Work, WorkKey } from '@swarm/contract/runner-protocol.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { ServerLink } from '../link/server-link.ts'
import { instant } from './lease.ts'
import type { Instant, Lease } from './lease.ts'
import type { Reporter } from './reporter.ts'
import { WorkFailure } from './work-failure.ts'

/** One piece of work that this runner holds. */
export interface Held {
  readonly key: WorkKey
  readonly work: Work
  readonly reporter: Reporter
  /** Aborted to end the work in good order: what was done is saved, then it is given back; with a WorkFailure, it has failed so. */
  readonly stop: AbortController
  /** Aborted when the lease is gone: nothing may be written about this work any more. */
  readonly lost: AbortController
  readonly lease: Lease
  /** Fires when the lease ends, by itself and first of all when a stopped process goes on. */
  timer?: NodeJS.Timeout
}

/**
 * Asked before anything is done in the name of work: a process that was stopped, or cut off, for longer than its lease finds
 * out here, whatever of its timers and sockets comes first when it goes on.
 * @throws DomainError stale_fence when the lease is over; the work is lost from then on
 */
export function requireLease(held: Pick<Held, 'key' | 'lease' | 'lost'>): void {
  if (!held.lost.signal.aborted && held.lease.leftMs() <= 0) held.lost.abort(new Error('the lease ran out without a heartbeat'))
  if (held.lost.signal.aborted) throw new DomainError('stale_fence', { attemptId: held.key.id, fence: held.key.fence })
}

/** An agent that is stopped because it made no progress has failed; whoever else stops it blames nobody. */
function stalled(): WorkFailure {
  return new WorkFailure('agent', 'stalled', 'The agent showed no progress for as long as its limit allows: no event, and no model call in flight. Its work until then was saved.')
}

/** Everything that this runner holds, and the beat that says that it is alive and keeps its leases. */
export class Holding implements AsyncDisposable {
  readonly #held = new Map<string, Held>()
  readonly #link: ServerLink
  readonly #ended = new AbortController()
  readonly #options: { bootId: string; beatMs: number; vms: () => readonly string[]; noRoom: () => string | null; usage: () => readonly VmUsage[]; onError: (error: unknown) => void }
  readonly #timer: NodeJS.Timeout
  #beating: Promise<void> = Promise.resolve()

  constructor(link: ServerLink, options: { bootId: string; beatMs: number; vms: () => readonly string[]; noRoom: () => string | null; usage: () => readonly VmUsage[]; onError: (error: unknown) => void }) {
    this.#link = link
    this.#options = options
    this.#timer = setInterval(() => { this.#beat() }, options.beatMs)
  }

  all(): Held[] { return [...this.#held.values()] }

  add(held: Held): void {
    this.#held.set(held.key.id, held)
    this.#beat()
  }

  remove(held: Held): void {
    clearTimeout(held.timer)
    if (this.#held.get(held.key.id) === held) this.#held.delete(held.key.id)
  }

  /** A beat out of turn: something has changed that people ask for. */
  tell(): void {
    this.#beat()
  }

  /** The server gives the ticket to somebody else when the lease is over: fence ourselves, even when it cannot be reached. */
  #watch(held: Held): void {
    clearTimeout(held.timer)
    const leftMs = held.lease.leftMs()
    if (leftMs <= 0) held.lost.abort(new Error('the lease ran out without a heartbeat'))
    else held.timer = setTimeout(() => { this.#watch(held) }, leftMs)
  }

  #beat(): void {
    for (const held of this.#held.values()) this.#watch(held)
    this.#beating = this.#send(instant()).catch(this.#options.onError)
  }

  async #send(sentAt: Instant): Promise<void> {
    const holding = this.all().filter((held) => !held.lost.signal.aborted).map((held) => ({ ...held.key, vmId: null, idleMs: held.reporter.idleMs() }))
    const body = { bootId: this.#options.bootId, holding, vms: [...this.#options.vms()], noRoom: this.#options.noRoom(), usage: this.#options.usage().slice(0, MAX_USAGE) }
    // The next beat comes anyway: one that got no answer until then is given up, so that none hangs on a dead connection.
    const { stop } = await this.#link.call(heartbeat, { body }, AbortSignal.any([this.#ended.signal, AbortSignal.timeout(this.#options.beatMs)]))
    const stops = new Map(stop.map((each) => [each.id, each]))
    for (const { id, fence } of holding) {
      const held = this.#held.get(id)
      if (held?.key.fence !== fence || held.lost.signal.aborted) continue
      const told = stops.get(id)
      if (told === undefined) held.lease.renew(sentAt)
      else if (told.code === 'lost') held.lost.abort(new Error(told.reason))
      else held.stop.abort(told.code === 'stalled' ? stalled() : new Error(told.reason))
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer)
    for (const held of this.#held.values()) clearTimeout(held.timer)
    this.#ended.abort()
    await this.#beating
  }
}
