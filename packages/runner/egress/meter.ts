import { Transform, type Duplex } from 'node:stream'
import { DomainError } from '@swarm/core/errors.ts'

/** Counts the bytes of one microVM's traffic to hosts on the list, both ways, heads included; routes of Swarm are not counted. */
export class ByteBudget {
  readonly #limitBytes: number
  #usedBytes = 0

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes
  }

  get usedBytes(): number {
    return this.#usedBytes
  }

  /** @throws DomainError egress_bytes_exhausted, once the limit is passed. */
  spend(bytes: number): void {
    this.#usedBytes += bytes
    if (this.#usedBytes > this.#limitBytes) throw new DomainError('egress_bytes_exhausted', { limitBytes: this.#limitBytes })
  }

  /** @throws DomainError egress_bytes_exhausted */
  check(): void {
    if (this.#usedBytes >= this.#limitBytes) throw new DomainError('egress_bytes_exhausted', { limitBytes: this.#limitBytes })
  }
}

/** One stream of the guest and its clock: without a byte for `idleMs` it is destroyed. */
export class GuestConnection {
  readonly stream: Duplex
  /** The host of the CONNECT whose tunnel this is, once there is one. */
  tunnel: { host: string; port: number } | undefined
  /** Whether TLS of that tunnel is ended here, and begun anew to the host. */
  terminated = false
  #timer: NodeJS.Timeout | undefined
  #idleMs: number

  constructor(stream: Duplex, idleMs: number) {
    this.stream = stream
    this.#idleMs = idleMs
    this.touch()
    stream.once('close', () => clearTimeout(this.#timer))
  }

  setIdle(idleMs: number): void {
    this.#idleMs = idleMs
    this.touch()
  }

  touch(): void {
    clearTimeout(this.#timer)
    if (!this.stream.destroyed) this.#timer = setTimeout(() => this.stream.destroy(), this.#idleMs)
  }

  /**
   * A pass-through that keeps the connection awake and, with a budget, charges it. `onExhausted` hears of an empty budget
   * before the streams around are torn down, so that the reason is not lost among their errors.
   */
  meter(budget: ByteBudget | undefined, onExhausted: (error: Error) => void): Transform {
    return new Transform({
      transform: (chunk: Buffer, _, done) => {
        this.touch()
        try {
          budget?.spend(chunk.length)
          done(null, chunk)
        } catch (error) {
          const exhausted = error instanceof Error ? error : new Error(String(error))
          onExhausted(exhausted)
          done(exhausted)
        }
      },
    })
  }
}
