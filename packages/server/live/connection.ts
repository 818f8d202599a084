import { HEARTBEAT_MS, LIVE_CLOSE_CODES, LiveSubscribe, roomsOf, type LiveEvent, type LiveMessage } from '@swarm/contract/live-events.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { WebSocket } from 'ws'
import type { Context } from '../context.ts'
import { compareCursors, type EventPage, type StoredEvent } from '../events/events.ts'
import { verifyPrincipal, type Principal } from '../http/tokens.ts'
import { LIVE_FILTER, type Hub } from './hub.ts'
import type { Tenants } from './tenants.ts'
import type { UsageFeed } from './usage-feed.ts'

/** A client with more than this waiting to be sent is cut. */
const MOST_BUFFERED_BYTES = 1024 * 1024
const FIRST_MESSAGE_MS = 10_000
const BACKFILL_PAGE = 200

type Deps = Pick<Context, 'db' | 'events' | 'logger' | 'metrics'> & { readonly hub: Hub; readonly usage: UsageFeed; readonly tenants: Tenants }

interface Subscription {
  readonly rooms: ReadonlySet<string>
  /** Everything up to here was sent, or was for other rooms. */
  cursor: string
  phase: 'backfill' | 'live'
  /** Pages of the hub that came during the backfill. */
  readonly waiting: EventPage[]
  readonly abort: AbortController
}

/** Serves one live connection until it closes. @param principal to be checked again at each heartbeat; null after a single-use ticket */
export function serveConnection(socket: WebSocket, principal: Principal | null, deps: Deps): void {
  const { hub, metrics, logger } = deps
  let subscription: Subscription | undefined
  let answered = true
  metrics.liveClients.inc()

  const send = (message: LiveMessage): void => { sendText(JSON.stringify(message)) }
  const sendText = (text: string): void => {
    if (socket.readyState !== socket.OPEN) return
    if (socket.bufferedAmount > MOST_BUFFERED_BYTES) {
      metrics.liveSlowConsumers.inc()
      socket.close(LIVE_CLOSE_CODES.slow_consumer, 'too slow: resume from the last cursor')
      // A peer that does not read does not answer the closing either.
      setTimeout(() => socket.terminate(), 1_000).unref()
      return
    }
    socket.send(text)
  }
  const refuse = (error: unknown): void => {
    if (error instanceof DomainError) send({ type: 'error', error: { code: error.code, message: error.message, remedy: error.remedy } })
    else {
      logger.error({ err: error }, 'a live subscription failed')
      socket.close(1011, 'internal error')
    }
  }

  const unlisten = hub.listen((page) => {
    if (subscription?.phase === 'live') deliver(subscription, page, deps.tenants, sendText)
    else subscription?.waiting.push(page)
  })

  let unlistenUsage = (): void => {}

  async function subscribe(request: LiveSubscribe['subscribe']): Promise<void> {
    subscription?.abort.abort()
    subscription = undefined
    unlistenUsage()
    unlistenUsage = (): void => {}
    const mine: Subscription = { rooms: new Set(request.rooms), cursor: request.cursor ?? hub.cursor, phase: 'backfill', waiting: [], abort: new AbortController() }
    // Refuses a cursor that is not one before anything else is said.
    if (request.cursor !== null) await deps.events.read(request.cursor, 1, LIVE_FILTER)
    subscription = mine
    send({ type: 'phase', phase: 'backfill', cursor: mine.cursor })
    for (let more = request.cursor !== null; more && !mine.abort.signal.aborted;) {
      // The hub's pages so far lie before the end of this read, or the read is full and there is another one.
      mine.waiting.length = 0
      const page = await deps.tenants.know(await deps.events.read(mine.cursor, BACKFILL_PAGE, LIVE_FILTER))
      deliver(mine, page, deps.tenants, sendText)
      more = page.events.length === BACKFILL_PAGE
      if (socket.bufferedAmount > MOST_BUFFERED_BYTES / 2) await drained(socket, mine.abort.signal)
    }
    if (mine.abort.signal.aborted) return
    // A client that comes from another replica may be ahead of this one's hub: deliver skips up to its cursor.
    for (const page of mine.waiting.splice(0)) deliver(mine, page, deps.tenants, sendText)
    mine.phase = 'live'
    send({ type: 'phase', phase: 'live', cursor: mine.cursor })
    if (mine.rooms.has('vms') && socket.readyState === socket.OPEN) unlistenUsage = deps.usage.listen((items) => { send({ type: 'vm_usage', items }) })
  }

  const unopened = setTimeout(() => socket.close(LIVE_CLOSE_CODES.protocol, 'no subscription came'), FIRST_MESSAGE_MS)
  socket.on('message', (data, isBinary) => {
    clearTimeout(unopened)
    const request = isBinary ? undefined : parseSubscribe(String(data))
    if (!request) return socket.close(LIVE_CLOSE_CODES.protocol, 'expected {"subscribe":{"rooms":[…],"cursor":…}}')
    subscribe(request).catch(refuse)
  })
  socket.on('pong', () => { answered = true })
  const heartbeat = setInterval(() => {
    if (!answered) return socket.terminate()
    answered = false
    socket.ping()
    if (subscription?.phase === 'live') send({ type: 'heartbeat', cursor: subscription.cursor })
    if (principal) checkAgain(principal).catch(refuse)
  }, HEARTBEAT_MS)

  async function checkAgain(who: Principal): Promise<void> {
    if (!await verifyPrincipal(deps.db.read, who)) socket.close(LIVE_CLOSE_CODES.unauthenticated, 'the token is no longer valid')
  }

  socket.on('close', () => {
    clearTimeout(unopened)
    clearInterval(heartbeat)
    subscription?.abort.abort()
    unlistenUsage()
    unlisten()
    metrics.liveClients.dec()
  })
}

/** Sends what of a page is new to this subscription and in its rooms, and moves its cursor past the page. */
function deliver(subscription: Subscription, page: EventPage, tenants: Tenants, send: (text: string) => void): void {
  for (const event of page.events) {
    if (compareCursors(event.cursor, subscription.cursor) <= 0) continue
    subscription.cursor = event.cursor
    if (roomsOf(event, tenants.of(event.projectId)).some((room) => subscription.rooms.has(room))) send(textOf(event))
  }
  if (compareCursors(page.cursor, subscription.cursor) > 0) subscription.cursor = page.cursor
}

/** The message of each event, made once for all clients: pages of the hub are handed to every one of them. */
const texts = new WeakMap<StoredEvent, string>()

function textOf(event: StoredEvent): string {
  const known = texts.get(event)
  if (known !== undefined) return known
  const message: LiveMessage = { type: 'event', cursor: event.cursor, event: present(event) }
  const text = JSON.stringify(message)
  texts.set(event, text)
  return text
}

function present(event: StoredEvent): LiveEvent {
  const { type, projectId, subject, data, correlationId, at } = event
  return { type: type as LiveEvent['type'], projectId, subject, data, correlationId, at }
}

function parseSubscribe(text: string): LiveSubscribe['subscribe'] | undefined {
  try {
    const result = LiveSubscribe.safeParse(JSON.parse(text))
    return result.success ? result.data.subscribe : undefined
  } catch {
    return undefined
  }
}

/** Resolves once the socket's kernel buffer took what was waiting, or the subscription ended. */
function drained(socket: WebSocket, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true })
    // ws calls back when this ping, and so all before it, was written.
    socket.ping(undefined, undefined, () => resolve())
  })
}
