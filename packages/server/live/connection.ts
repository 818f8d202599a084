import { HEARTBEAT_MS, LIVE_CLOSE_CODES, LiveSubscribe, roomsOf, type LiveEvent, type LiveMessage } from '@swarm/contract/live-events.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { parseJson } from '@swarm/core/json.ts'
import type { WebSocket } from 'ws'
import { RIGHTS_CHANGED } from '../authorization/rights.ts'
import type { Context } from '../context.ts'
import { compareCursors, type EventPage, type StoredEvent } from '../events/events.ts'
import type { Principal } from '../http/tokens.ts'
import { LIVE_FILTER, type Hub } from './hub.ts'
import { enterRoom, staysIn } from './rooms.ts'
import type { UsageFeed } from './usage-feed.ts'

/** A client with more than this waiting to be sent is cut. */
const MOST_BUFFERED_BYTES = 1024 * 1024
const FIRST_MESSAGE_MS = 10_000
const BACKFILL_PAGE = 200

type Deps = Pick<Context, 'authorization' | 'events' | 'logger' | 'metrics'> & {
  readonly hub: Hub; readonly usage: UsageFeed
  /** Whether the credentials behind a principal still hold. */
  readonly stillValid: (principal: Principal) => Promise<boolean>
}

interface Subscription {
  readonly rooms: ReadonlySet<string>
  /** Everything up to here was sent, or was for other rooms. */
  cursor: string
  phase: 'backfill' | 'live'
  /** Pages of the hub that were not delivered yet: those that came during the backfill, or while rights were asked for. */
  readonly waiting: EventPage[]
  /** By project, whether what happens in it may be seen: asked once, and anew when rights change. */
  readonly seen: Map<string, boolean>
  readonly abort: AbortController
}

/** Serves one live connection until it closes. @param principal who opened it; checked again at each heartbeat and whenever their rights change */
export function serveConnection(socket: WebSocket, principal: Principal, correlationId: string, deps: Deps): void {
  const { hub, metrics, logger, authorization } = deps
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
    const mine = subscription
    if (!mine) return
    mine.waiting.push(page)
    if (mine.phase === 'live' && mine.waiting.length === 1) deliverWaiting(mine).catch(refuse)
  })

  let unlistenUsage = (): void => {}

  async function subscribe(request: LiveSubscribe['subscribe']): Promise<void> {
    subscription?.abort.abort()
    subscription = undefined
    unlistenUsage()
    unlistenUsage = (): void => {}
    // Refuses a cursor that is not one, and rooms that are not for this caller, before anything else is said.
    if (request.cursor !== null) await deps.events.read(request.cursor, 1, LIVE_FILTER)
    const rooms = new Set<string>()
    for (const room of request.rooms) rooms.add(await enterRoom(authorization, principal, room, correlationId))
    const mine: Subscription = { rooms, cursor: request.cursor ?? hub.cursor, phase: 'backfill', waiting: [], seen: new Map(), abort: new AbortController() }
    subscription = mine
    send({ type: 'phase', phase: 'backfill', cursor: mine.cursor })
    for (let more = request.cursor !== null; more && !mine.abort.signal.aborted;) {
      // The hub's pages so far lie before the end of this read, or the read is full and there is another one.
      mine.waiting.length = 0
      const page = await deps.events.read(mine.cursor, BACKFILL_PAGE, LIVE_FILTER)
      await hub.learn(page)
      await deliver(mine, page)
      more = page.events.length === BACKFILL_PAGE
      if (socket.bufferedAmount > MOST_BUFFERED_BYTES / 2) await drained(socket, mine.abort.signal)
    }
    // A client that comes from another replica may be ahead of this one's hub: deliver skips up to its cursor.
    while (mine.waiting.length > 0 && !mine.abort.signal.aborted) await deliverWaiting(mine)
    if (mine.abort.signal.aborted) return
    mine.phase = 'live'
    send({ type: 'phase', phase: 'live', cursor: mine.cursor })
    if (mine.rooms.has('vms') && socket.readyState === socket.OPEN) {
      unlistenUsage = deps.usage.listen((items) => { sendUsage(mine, items).catch(refuse) })
    }
  }

  async function sendUsage(mine: Subscription, items: Extract<LiveMessage, { type: 'vm_usage' }>['items']): Promise<void> {
    const visible = []
    for (const item of items) if (await maySee(mine, item.projectId)) visible.push(item)
    if (visible.length > 0 && !mine.abort.signal.aborted) send({ type: 'vm_usage', items: visible })
  }

  /** One page after the other: a page that waits for the policies holds back those behind it. */
  async function deliverWaiting(mine: Subscription): Promise<void> {
    for (let page = mine.waiting[0]; page !== undefined && !mine.abort.signal.aborted; page = mine.waiting[0]) {
      const delivered = deliver(mine, page)
      if (delivered) await delivered
      mine.waiting.shift()
    }
  }

  /** Sends what of a page is new to this subscription and in its rooms, and moves its cursor past the page. @returns a promise only where the policies have to be asked */
  function deliver(mine: Subscription, page: EventPage, from = 0): Promise<void> | undefined {
    for (let index = from; index < page.events.length; index += 1) {
      const event = page.events[index]!
      if (compareCursors(event.cursor, mine.cursor) <= 0) continue
      const asked = event.type === RIGHTS_CHANGED ? checkRights(mine, event) : unseen(mine, event)
      if (asked) return asked.then(async () => { if (!mine.abort.signal.aborted) await deliver(mine, page, event.type === RIGHTS_CHANGED ? index + 1 : index) })
      mine.cursor = event.cursor
      if (event.type !== RIGHTS_CHANGED && isFor(mine, event)) sendText(textOf(event))
    }
    if (compareCursors(page.cursor, mine.cursor) > 0) mine.cursor = page.cursor
    return undefined
  }

  /** Asks about the project of an event that only the room of its organisation would bring, if it was not asked yet. */
  function unseen(mine: Subscription, { projectId }: StoredEvent): Promise<unknown> | undefined {
    if (projectId === null || mine.seen.has(projectId) || !mine.rooms.has(`tenant:${hub.organizationOf(projectId) ?? ''}`)) return undefined
    return maySee(mine, projectId)
  }

  async function maySee(mine: Subscription, projectId: string): Promise<boolean> {
    const known = mine.seen.get(projectId)
    if (known !== undefined) return known
    const seen = await authorization.sees(principal, projectId)
    mine.seen.set(projectId, seen)
    return seen
  }

  function isFor(mine: Subscription, event: StoredEvent): boolean {
    if (roomsOf(event).some((room) => mine.rooms.has(room))) return true
    // What belongs to no project is of the installation (its model, its agents), or of one organisation.
    if (event.projectId === null) return event.subject.kind === 'organization' ? mine.rooms.has(`tenant:${event.subject.id}`) : [...mine.rooms].some((room) => room.startsWith('tenant:'))
    return mine.seen.get(event.projectId) === true && mine.rooms.has(`tenant:${hub.organizationOf(event.projectId) ?? ''}`)
  }

  /** Rights were changed: of this caller, or of what it is subscribed to. */
  function checkRights(mine: Subscription, event: StoredEvent): Promise<void> | undefined {
    if (event.subject.kind === 'user' && event.subject.id !== principal.id) return undefined
    return (async () => {
      mine.cursor = event.cursor
      mine.seen.clear()
      await checkAgain()
      for (const room of mine.rooms) {
        if (mine.abort.signal.aborted) return
        if (await staysIn(authorization, principal, room)) continue
        mine.abort.abort()
        socket.close(LIVE_CLOSE_CODES.forbidden, `not for you any more: ${room}`)
      }
    })()
  }

  const unopened = setTimeout(() => socket.close(LIVE_CLOSE_CODES.protocol, 'no subscription came'), FIRST_MESSAGE_MS)
  socket.on('message', (data, isBinary) => {
    clearTimeout(unopened)
    const request = isBinary ? undefined : LiveSubscribe.safeParse(parseJson(String(data))).data
    if (!request) return socket.close(LIVE_CLOSE_CODES.protocol, 'expected {"subscribe":{"rooms":[…],"cursor":…}}')
    subscribe(request.subscribe).catch(refuse)
  })
  socket.on('pong', () => { answered = true })
  const heartbeat = setInterval(() => {
    if (!answered) return socket.terminate()
    answered = false
    socket.ping()
    if (subscription?.phase === 'live') send({ type: 'heartbeat', cursor: subscription.cursor })
    checkAgain().catch(refuse)
  }, HEARTBEAT_MS)

  async function checkAgain(): Promise<void> {
    if (await deps.stillValid(principal)) return
    subscription?.abort.abort()
    socket.close(LIVE_CLOSE_CODES.unauthenticated, 'the credentials are no longer valid')
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

/** Resolves once the socket's kernel buffer took what was waiting, or the subscription ended. */
function drained(socket: WebSocket, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true })
    // ws calls back when this ping, and so all before it, was written.
    socket.ping(undefined, undefined, () => resolve())
  })
}
