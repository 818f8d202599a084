import { setTimeout as after } from 'node:timers/promises'
import { answeredCircuit, CLOSED, failedCircuit, passCircuit, releasedCircuit, type Circuit } from '@swarm/core/model/circuit.ts'

/** A model's circuit as people see it. */
export interface CircuitView { readonly model: string; readonly circuit: Circuit; /** ms since the epoch */ readonly since: number }

/**
 * The circuit breakers of one provider, one per model, in this process: each replica learns by its own calls. While one is
 * open its calls wait instead of failing, so that an overload burns no attempts (core/model/circuit.ts has the rules).
 * @param onMove told when a circuit gets into another state
 */
export function createCircuits(onMove: (model: string, from: Circuit, to: Circuit) => void = () => undefined) {
  const circuits = new Map<string, { circuit: Circuit; since: number; changed: PromiseWithResolvers<void> }>()

  function of(model: string): { circuit: Circuit; since: number; changed: PromiseWithResolvers<void> } {
    const known = circuits.get(model)
    if (known) return known
    const made = { circuit: CLOSED, since: Date.now(), changed: Promise.withResolvers<void>() }
    circuits.set(model, made)
    return made
  }

  function become(model: string, next: Circuit): void {
    const held = of(model)
    const from = held.circuit
    if (from === next) return
    held.circuit = next
    if (from.state !== next.state) {
      held.since = Date.now()
      onMove(model, from, next)
    }
    const { changed } = held
    held.changed = Promise.withResolvers<void>()
    changed.resolve()
  }

  return {
    /** Resolves when a call may be tried. Rejects when `signal` aborts. */
    async pass(model: string, signal: AbortSignal): Promise<void> {
      for (;;) {
        signal.throwIfAborted()
        const { circuit, changed } = of(model)
        const passage = passCircuit(circuit, Date.now())
        if (passage.kind === 'go') return become(model, passage.circuit)
        await waitFor(changed.promise, passage.kind === 'wait' ? passage.until - Date.now() : null, signal)
      }
    },
    /** The provider answered, be it with a refusal of this request. */
    answered(model: string): void { become(model, answeredCircuit(of(model).circuit)) },
    /** The provider is overloaded or out of reach. @param retryAfterMs what it asked for, if it did. */
    failed(model: string, retryAfterMs: number | null): void { become(model, failedCircuit(of(model).circuit, Date.now(), retryAfterMs)) },
    /** The probing call ended without a verdict. */
    released(model: string): void { become(model, releasedCircuit(of(model).circuit, Date.now())) },
    closed: (model: string): boolean => of(model).circuit.state === 'closed',
    /** When the provider may be asked again for this model, ms since the epoch; 0 = now. */
    nextTryAt: (model: string): number => of(model).circuit.openUntil,
    view: (): CircuitView[] => [...circuits].map(([model, { circuit, since }]) => ({ model, circuit, since })),
  }
}

/** Waits for the promise or for so long (null: no limit), whichever comes first. Rejects when `signal` aborts. */
async function waitFor(promise: Promise<void>, ms: number | null, signal: AbortSignal): Promise<void> {
  const over = new AbortController()
  const gone = Promise.withResolvers<never>()
  const abort = (): void => gone.reject(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  try {
    await Promise.race([promise, gone.promise, ...(ms === null ? [] : [after(Math.max(0, ms), undefined, { signal: over.signal })])])
  } finally {
    signal.removeEventListener('abort', abort)
    over.abort()
  }
}
