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
  #sending: Promise<void> | null = null
  lastActivityAtMs: number | null = null

  constructor(link: ServerLink, key: { kind: 'attempt' | 'check'; id: string; fence: number }, signal: AbortSignal, onError: (error: unknown) => void) {
    this.#link = link
    this.#key = key
    this.#signal = signal
    this.onError = onError
  }

  step(step: Step): void { this.#steps.push(step); this.#send() }
  vm(vm: VmReport): void { this.#steps.push(vm); this.#send() }

  /** The end of a microVM is told even when the work itself was lost. */
  async vmEnded(vm: VmReport): Promise<void> {
    await this.#link.call(status, { body: { ...this.#key, sequence: this.#sequence++, vm } }, AbortSignal.timeout(VM_END_MS))
  }
  refusal(refusal: Refusal): void { this.#refusals.push(refusal); this.#send() }
  activity(event: AgentEvent): void {
    this.lastActivityAtMs = Date.now()
    this.#activity.push(event)
    this.#send()
  }

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
    while (this.#steps.length > 0 || this.#activity.length > 0 || this.#refusals.length > 0) {
      const next = this.#steps.shift()
      const report: Report = {
        ...this.#key, sequence: this.#sequence++,
        activity: this.#activity.splice(0, BATCH), egressRefusals: this.#refusals.splice(0, BATCH),
        ...(next === undefined ? {} : 'id' in next ? { vm: next } : { step: next }),
      }
      await this.#link.call(status, { body: report }, this.#signal)
    }
  }
}
