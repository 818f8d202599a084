import { AsyncLocalStorage } from 'node:async_hooks'
import { randomUUID } from 'node:crypto'

const current = new AsyncLocalStorage<string>()

/** What may come in `x-correlation-id`: it goes into logs and events, so its shape is checked. */
export const CORRELATION_ID = /^[A-Za-z0-9._:-]{8,128}$/

export function makeCorrelationId(): string {
  return randomUUID()
}

/** Runs `fn` under a correlation id, which log lines and events of everything it starts carry. */
export function withCorrelationId<T>(correlationId: string, fn: () => T): T {
  return current.run(correlationId, fn)
}

/** The correlation id of the request or job that runs now; a new one outside of any. */
export function currentCorrelationId(): string {
  return current.getStore() ?? makeCorrelationId()
}

/** As currentCorrelationId, or undefined outside of any. */
export function knownCorrelationId(): string | undefined {
  return current.getStore()
}
