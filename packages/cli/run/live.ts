import { on } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import type { Client } from '@swarm/contract/client.ts'
import { createLiveTicket } from '@swarm/contract/endpoints/system.ts'
import { ApiError } from '@swarm/contract/errors.ts'
import { LiveMessage, type LiveEvent } from '@swarm/contract/live-events.ts'
import { ERROR_CODES } from '@swarm/core/error-codes.ts'
import { parseJson } from '@swarm/core/json.ts'
import { UserError } from '../errors.ts'
import { EXIT } from '../exit-codes.ts'

const FIRST_WAIT_MS = 100
const WAIT_CAP_MS = 2_000
/** A server that is away for so long is not coming back by itself. */
const GIVE_UP_MS = 60_000

/** `current`: every event until now was given (after a connection or a reconnection); `beat`: 15 s went by. */
export type Live = { readonly kind: 'current' } | { readonly kind: 'beat' } | { readonly kind: 'event'; readonly event: LiveEvent }

/**
 * The events of these rooms from now on, each once and in order. A lost connection is taken up where it broke.
 * @throws UserError when the server stays away; the signal's reason
 */
export async function* follow(options: { client: Client; url: string; rooms: readonly string[]; signal: AbortSignal }): AsyncGenerator<Live> {
  const { client, signal } = options
  let cursor: string | null = null
  let wait = FIRST_WAIT_MS
  let lostAt: number | null = null
  for (;;) {
    signal.throwIfAborted()
    try {
      const { ticket } = await client.call(createLiveTicket, {}, { signal })
      const socket = new WebSocket(`${options.url.replace(/^http/, 'ws')}/ws?ticket=${encodeURIComponent(ticket)}`)
      try {
        // Made before the socket opens, so that nothing said meanwhile is missed.
        const messages = on(socket as unknown as EventTarget, 'message', { signal, close: ['close', 'error'] })
        await opened(socket, signal)
        socket.send(JSON.stringify({ subscribe: { rooms: options.rooms, cursor } }))
        for await (const [message] of messages as AsyncIterable<[{ readonly data: string }]>) {
          const said = LiveMessage.safeParse(parseJson(message.data))
          if (!said.success || said.data.type === 'vm_usage') continue
          if (said.data.type === 'error') throw new UserError(said.data.error.code, said.data.error.message, said.data.error.remedy, isUserFault(said.data.error.code) ? EXIT.misuse : EXIT.platform)
          cursor = said.data.cursor
          ;[wait, lostAt] = [FIRST_WAIT_MS, null]
          if (said.data.type === 'event') yield { kind: 'event', event: said.data.event }
          else if (said.data.type === 'heartbeat') yield { kind: 'beat' }
          else if (said.data.phase === 'live') yield { kind: 'current' }
        }
      } finally {
        socket.close()
      }
    } catch (error) {
      if (signal.aborted) throw signal.reason
      if (error instanceof UserError || (error instanceof ApiError && error.status < 500 && error.status !== 429)) throw error
    }
    lostAt ??= performance.now()
    if (performance.now() - lostAt > GIVE_UP_MS) throw new UserError('server_lost', `The server at ${options.url} does not answer any more.`, 'Look at "swarm status" and "swarm logs", start it again, and run the same command again: it goes on where it was.', EXIT.platform)
    await delay(wait, undefined, { signal }).catch(() => { throw signal.reason })
    wait = Math.min(WAIT_CAP_MS, wait * 2)
  }
}

const isUserFault = (code: string): boolean => Object.hasOwn(ERROR_CODES, code) && ERROR_CODES[code as keyof typeof ERROR_CODES].fault === 'user'

function opened(socket: WebSocket, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.addEventListener('open', () => { resolve() }, { once: true })
    socket.addEventListener('error', () => { reject(new Error('the connection was refused')) }, { once: true })
    socket.addEventListener('close', () => { reject(new Error('the connection was closed')) }, { once: true })
    signal.addEventListener('abort', () => { reject(signal.reason as Error) }, { once: true })
  })
}

/** Gives what came meanwhile in one piece: what a slow reader does per piece is then done once. */
export async function* inBatches<T>(source: AsyncGenerator<T>): AsyncGenerator<T[]> {
  const queue: T[] = []
  let wake = Promise.withResolvers<void>()
  let state: { readonly error?: unknown } | null = null
  const reading = (async () => {
    for await (const each of source) {
      queue.push(each)
      wake.resolve()
    }
  })().then(() => { state = {} }, (error: unknown) => { state = { error } }).finally(() => { wake.resolve() })
  try {
    for (;;) {
      await wake.promise
      wake = Promise.withResolvers()
      if (queue.length > 0) yield queue.splice(0)
      const ended = state as { readonly error?: unknown } | null
      if (ended !== null && queue.length === 0) {
        if ('error' in ended) throw ended.error
        return
      }
      if (ended !== null || queue.length > 0) wake.resolve()
    }
  } finally {
    // The reader hangs on its source until that ends; the caller aborts it by its signal.
    reading.catch(() => undefined)
  }
}
