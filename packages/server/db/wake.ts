import { EventEmitter } from 'node:events'

/** A set flag that remembers: a signal between two waits is not lost. */
export interface Latch extends Disposable {
  /** Resolves at the next signal, at once when one came since the last wait; never rejects. */
  wait(options?: { signal?: AbortSignal, timeoutMs?: number }): Promise<'woken' | 'timeout' | 'aborted'>
}

/** In-process signals by topic, sent after commits (of this process, and on PostgreSQL of every process). They carry no data. */
export interface Wake {
  emit(topic: string): void
  /** Every topic: after a lost connection to PostgreSQL nobody knows what was missed. */
  emitAll(): void
  /** @returns a function that ends the subscription */
  on(topic: string, listener: () => void): () => void
  latch(topic: string): Latch
}

export function createWake(): Wake {
  const emitter = new EventEmitter().setMaxListeners(0)
  const on = (topic: string, listener: () => void): (() => void) => {
    emitter.on(topic, listener)
    return () => { emitter.off(topic, listener) }
  }
  return {
    emit: (topic) => { emitter.emit(topic) },
    emitAll: () => { for (const topic of emitter.eventNames()) emitter.emit(topic) },
    on,
    latch: (topic) => createLatch((listener) => on(topic, listener)),
  }
}

function createLatch(subscribe: (listener: () => void) => () => void): Latch {
  let set = false
  const waiting = new Set<() => void>()
  const unsubscribe = subscribe(() => {
    if (waiting.size === 0) set = true
    for (const wake of waiting) wake()
  })
  return {
    [Symbol.dispose]: unsubscribe,
    wait: ({ signal, timeoutMs } = {}) => new Promise((resolve) => {
      if (signal?.aborted) return resolve('aborted')
      if (set) {
        set = false
        return resolve('woken')
      }
      const done = (outcome: 'woken' | 'timeout' | 'aborted'): void => {
        waiting.delete(wake)
        clearTimeout(timer)
        signal?.removeEventListener('abort', abort)
        resolve(outcome)
      }
      const wake = (): void => done('woken')
      const abort = (): void => done('aborted')
      const timer = timeoutMs === undefined ? undefined : setTimeout(() => done('timeout'), timeoutMs)
      waiting.add(wake)
      signal?.addEventListener('abort', abort, { once: true })
    }),
  }
}
