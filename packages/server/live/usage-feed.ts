import { setTimeout as delay } from 'node:timers/promises'
import type { LiveMessage } from '@swarm/contract/live-events.ts'
import type { Context } from '../context.ts'
import { usageNow, VM_USAGE_TOPIC } from '../features/vms/usage.ts'

type Items = Extract<LiveMessage, { type: 'vm_usage' }>['items']

/** Between two messages, ms: a page need not be faster, and runners report in turn. */
const EVERY_MS = 1_000

/** What microVMs use, for live connections that want it: read once for all of them, and only while there are any. */
export interface UsageFeed extends AsyncDisposable {
  /** Calls `listener` with what was measured anew; at first with all there is. @returns a function that ends it */
  listen(listener: (items: Items) => void): () => void
}

export function createUsageFeed({ db, logger, stopping }: Pick<Context, 'db' | 'logger' | 'stopping'>): UsageFeed {
  /** By listener, when what it was told of each microVM was measured. */
  const listeners = new Map<(items: Items) => void, Map<string, number>>()
  const closing = new AbortController()
  const signal = AbortSignal.any([closing.signal, stopping])
  let following: Promise<void> | null = null

  async function tell(): Promise<void> {
    const rows = await usageNow(db.read)
    for (const [listener, told] of listeners) {
      const news = rows.filter((row) => told.get(row.vmId) !== row.sampledAt)
      told.clear()
      for (const row of rows) told.set(row.vmId, row.sampledAt)
      if (news.length > 0) listener(news)
    }
  }

  async function follow(): Promise<void> {
    using latch = db.wake.latch(VM_USAGE_TOPIC)
    while (!signal.aborted && listeners.size > 0) {
      await tell().catch((error: unknown) => { logger.error({ err: error }, 'what microVMs use could not be read') })
      await delay(EVERY_MS, undefined, { signal }).catch(() => undefined) // it stops
      await latch.wait({ signal, timeoutMs: 30_000 })
    }
    following = null
    if (!signal.aborted && listeners.size > 0) following = follow()
  }

  return {
    listen(listener) {
      listeners.set(listener, new Map())
      following ??= follow()
      return () => { listeners.delete(listener) }
    },
    async [Symbol.asyncDispose]() {
      closing.abort()
      await following
    },
  }
}
