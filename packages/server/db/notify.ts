import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import type { Wake } from './wake.ts'

const CHANNEL = 'swarm_wake'
const LONGEST_WAIT_MS = 5_000

/** Carries the topics of committed units to the other processes on the same PostgreSQL, and theirs to this one's `wake`. */
export interface Notifier extends AsyncDisposable {
  /** After the commit, never inside it: NOTIFY in a transaction serialises all commits (5,339 → 430 per second). */
  notify(topics: ReadonlySet<string>): void
}

export async function createNotifier(
  connection: pg.ClientConfig, pool: pg.Pool, wake: Wake, onError: (error: unknown, what: string) => void,
): Promise<Notifier> {
  const pending = new Set<string>()
  let sending: Promise<void> | undefined
  const closing = new AbortController()
  let listener = await listen()

  async function listen(): Promise<pg.Client> {
    const client = new pg.Client({ ...connection, keepAlive: true })
    client.on('notification', ({ payload }) => { for (const topic of (payload ?? '').split(',')) wake.emit(topic) })
    let lost = false
    client.on('error', (error) => {
      onError(error, 'the connection that listens to PostgreSQL was lost')
      if (!lost) void relisten()
      lost = true
    })
    await client.connect()
    await client.query(`listen ${CHANNEL}`)
    return client
  }

  async function relisten(): Promise<void> {
    for (let waitMs = 100; !closing.signal.aborted; waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS)) {
      try {
        listener = await listen()
        wake.emitAll()
        return
      } catch (error) {
        onError(error, 'PostgreSQL cannot be reached to listen')
        await delay(waitMs, undefined, { signal: closing.signal }).catch(() => undefined)
      }
    }
  }

  /** One NOTIFY in flight at a time: what comes meanwhile is sent together after it. */
  async function send(): Promise<void> {
    while (pending.size > 0) {
      const topics = [...pending].join(',')
      pending.clear()
      await pool.query('select pg_notify($1, $2)', [CHANNEL, topics]).catch((error: unknown) => onError(error, 'NOTIFY failed'))
    }
    sending = undefined
  }

  return {
    notify: (topics) => {
      for (const topic of topics) pending.add(topic)
      if (pending.size > 0) sending ??= send()
    },
    [Symbol.asyncDispose]: async () => {
      closing.abort()
      await sending
      await listener.end()
    },
  }
}
