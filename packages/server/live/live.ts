import { createLiveTicket } from '@swarm/contract/endpoints/system.ts'
import { LIVE_CLOSE_CODES } from '@swarm/contract/live-events.ts'
import type { Context } from '../context.ts'
import { LIVE_PATH } from '../http/authenticate.ts'
import { register } from '../http/register.ts'
import { mintToken } from '../http/tokens.ts'
import { serveConnection } from './connection.ts'
import { createHub } from './hub.ts'
import { createTenants } from './tenants.ts'
import { createUsageFeed } from './usage-feed.ts'

const TICKET_LIFE_MS = 30_000

/** `/ws` (the wire is drawn in contract/live-events.ts) and the tickets that open it. */
export async function registerLive(context: Context): Promise<AsyncDisposable> {
  const { db, http, clock } = context
  await using started = new AsyncDisposableStack()
  const tenants = createTenants(db)
  const hub = started.use(await createHub(context, tenants))
  const usage = started.use(createUsageFeed(context))

  register(http, createLiveTicket, async () => {
    const expiresAt = clock() + TICKET_LIFE_MS
    const { token } = await db.write((trx) => mintToken(trx, { kind: 'live', subjectId: 'admin', expiresAt }))
    return { ticket: token, expiresAt }
  })

  http.app.get(LIVE_PATH, { websocket: true, config: { access: ['admin'] } }, (socket, request) => {
    serveConnection(socket, request.principal.kind === 'live' ? null : request.principal, { ...context, hub, usage, tenants })
  })
  context.stopping.addEventListener('abort', () => {
    for (const client of http.app.websocketServer.clients) client.close(LIVE_CLOSE_CODES.stopping, 'the server is stopping')
  }, { once: true })
  return started.move()
}
