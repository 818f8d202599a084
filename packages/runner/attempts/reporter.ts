import type { AgentEvent } from '@swarm/contract/agent-protocol.ts'
import { status } from '@swarm/contract/runner-protocol.ts'
import type { z } from 'zod'
import type { ServerLink } from '../link/server-link.ts'

type Report = z.input<NonNullable<typeof status.body>>
export type Step = NonNullable<Report['step']>
export type VmReport = NonNullable<Report['vm']>
export type Refusal = NonNullable<Report['egressRefusals']>[number]

/** Most activity of one report; the endpoint takes 200. */
const BATCH = 100
/** The server hears of a microVM's end within this time, or at the next start of this runner. */
const VM_END_MS = 10_000

/**
 * Reports the progress of one piece of work, in order. While a report is on its way the rest gathers, so a chatty agent
 * makes few calls and a quiet one is seen at once.
 */
export class Reporter {
  readonly #link: ServerLink
  readonly #key: { kind: 'attempt' | 'check'; id: string; fence: number }
  readonly #signal: AbortSignal
  readonly onError: (error: unknown) => void
  #sequence = 0
  #steps: (Step | VmReport)[] = []
  #activity: AgentEvent[] = []
  #refusals: Refusal[] = []
  #wipSha: string | null = null
  #secretUses: string[] = []
  #sending: Promise<void> | null = null
  readonly #permit: () => void
  /** On the monotonic clock; null while no agent runs. */
  #lastActivityMs: number | null = null
  #inFlight: () => boolean = () => false

  /** @param permit throws when the lease of the work is over; asked before every try of a report */
  constructor(link: ServerLink, key: { kind: 'attempt' | 'check'; id: string; fence: number }, options: { signal: AbortSignal; permit: () => void; onError: (error: unknown) => void }) {
    this.#link = link
    this.#key = key
    this.#signal = options.signal
    this.#permit = options.permit
    this.onError = options.onError
  }

  /** From now on an agent runs; `inFlight` tells whether it waits for a model call, or is kept from working. */
  watchAgent(inFlight: () => boolean): void {
    this.#lastActivityMs = performance.now()
    this.#inFlight = inFlight
  }

  /** How long the agent has shown no progress, ms; null while none runs. */
  idleMs(): number | null {
    if (this.#lastActivityMs === null) return null
    if (this.#inFlight()) this.#lastActivityMs = performance.now()
    return Math.round(performance.now() - this.#lastActivityMs)
  }

  step(step: Step): void { this.#steps.push(step); this.#send() }
  vm(vm: VmReport): void { this.#steps.push(vm); this.#send() }

  /** The end of a microVM is told even when the work itself was lost. */
  async vmEnded(vm: VmReport): Promise<void> {
    await this.#link.call(status, { body: { ...this.#key, sequence: this.#sequence++, vm } }, AbortSignal.timeout(VM_END_MS))
  }
  refusal(refusal: Refusal): void { this.#refusals.push(refusal); this.#send() }
  /** A secret of this work went out with a request. */
  secretUsed(id: string): void { this.#secretUses.push(id); this.#send() }
  activity(event: AgentEvent): void {
    this.#lastActivityMs = performance.now()
    this.#activity.push(event)
    this.#send()
  }

  /** Work in progress that lies on the attempt's ref; the newest is enough. */
  checkpoint(sha: string): void { this.#wipSha = sha; this.#send() }

  /** Resolves when all that was reported has been recorded (or can no longer be). */
  async flush(): Promise<void> {
    while (this.#sending) await this.#sending
  }

  /** Runs a step, reporting its start, its end and how long it took. */
  async during<T>(name: string, work: () => Promise<T>, detail?: (value: T) => string): Promise<T> {
    const start = performance.now()
    this.step({ name, state: 'started' })
    try {
      const value = await work()
      this.step({ name, state: 'done', wallMs: performance.now() - start, ...(detail ? { detail: detail(value) } : {}) })
      return value
    } catch (error) {
      this.step({ name, state: 'failed', wallMs: performance.now() - start, detail: error instanceof Error ? error.message.slice(0, 500) : String(error) })
      throw error
    }
  }

  #send(): void {
    this.#sending ??= this.#drain().catch(this.onError).finally(() => {
      this.#sending = null
    })
  }

  async #drain(): Promise<void> {
    while (this.#steps.length > 0 || this.#activity.length > 0 || this.#refusals.length > 0 || this.#secretUses.length > 0 || this.#wipSha !== null) {
      const next = this.#steps.shift()
      const wipSha = this.#wipSha
      this.#wipSha = null
      const report: Report = {
        ...this.#key, sequence: this.#sequence++,
        activity: this.#activity.splice(0, BATCH), egressRefusals: this.#refusals.splice(0, BATCH), secretUses: this.#secretUses.splice(0, BATCH),
        ...(wipSha === null ? {} : { wipSha }),
        ...(next === undefined ? {} : 'id' in next ? { vm: next } : { step: next }),
      }
      await this.#link.call(status, { body: report }, this.#signal, this.#permit)
    }
  }
}
