import { once } from 'node:events'
import { signOut } from '@swarm/contract/endpoints/accounts.ts'
import { createProject, updateProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository } from '@swarm/contract/endpoints/repositories.ts'
import { createLiveTicket } from '@swarm/contract/endpoints/system.ts'
import { createTicket } from '@swarm/contract/endpoints/tickets.ts'
import { LIVE_CLOSE_CODES, LiveMessage } from '@swarm/contract/live-events.ts'
import { describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { eachDialect, sqlitePlace, type TestDatabase } from '../db/testing.ts'
import { appendEvents, type NewEvent } from '../events/events.ts'
import { mintToken } from '../http/tokens.ts'
import { person } from '../testing-people.ts'
import { startTestServer, type TestServer } from '../testing.ts'

interface LiveClient extends Disposable {
  readonly socket: WebSocket
  readonly messages: LiveMessage[]
  /** Subject ids of the events so far. */
  seen(): string[]
  subscribe(rooms: string[], cursor: string | null): void
  readonly closed: Promise<[number, Buffer]>
}

async function connect(server: TestServer, options: { token?: string, ticket?: string } = { token: server.adminToken }): Promise<LiveClient> {
  const url = `${server.url.replace('http', 'ws')}/ws${options.ticket === undefined ? '' : `?ticket=${options.ticket}`}`
  const socket = new WebSocket(url, options.token === undefined ? {} : { headers: { authorization: `Bearer ${options.token}` } })
  const messages: LiveMessage[] = []
  socket.on('message', (data) => messages.push(LiveMessage.parse(JSON.parse(String(data)))))
  const closed = new Promise<[number, Buffer]>((resolve) => { socket.once('close', (code, reason) => resolve([code, reason])) })
  await once(socket, 'open')
  return {
    socket, messages, closed,
    seen: () => messages.flatMap((message) => message.type === 'event' ? [message.event.subject.id] : []),
    subscribe: (rooms, cursor) => socket.send(JSON.stringify({ subscribe: { rooms, cursor } })),
    [Symbol.dispose]: () => socket.terminate(),
  }
}

/** Two projects and a ticket, as what happens is told of. */
async function makeProjects(server: TestServer): Promise<{ first: string; second: string; ticketId: string }> {
  const [first, second] = [await server.admin.call(createProject, { body: { slug: 'first' } }), await server.admin.call(createProject, { body: { slug: 'second' } })]
  const repository = await server.admin.call(createRepository, { body: { projectId: first.id, slug: 'r' } })
  const ticket = await server.admin.call(createTicket, { body: { projectId: first.id, repositoryId: repository.id, title: 'One', agent: 'developer' } })
  return { first: first.id, second: second.id, ticketId: ticket.id }
}

const event = (id: string, more: Partial<NewEvent> = {}): NewEvent => ({ type: 'ticket:update', projectId: null, subject: { kind: 'ticket', id }, data: {}, ...more })
const append = (server: TestServer, ...events: NewEvent[]): Promise<void> => server.context.db.write((trx) => appendEvents(trx, events))
const isLive = (client: LiveClient) => (): boolean => client.messages.some((message) => message.type === 'phase' && message.phase === 'live')
const start = (place: TestDatabase): Promise<TestServer> => startTestServer(place)

eachDialect((dialect, make) => {
  test('a client gets the events of its rooms, and no others', async () => {
    await using place = await make()
    await using server = await start(place)
    using tickets = await connect(server)
    using project = await connect(server)
    using all = await connect(server)
    const { first, second, ticketId } = await makeProjects(server)
    tickets.subscribe([`ticket:${ticketId}`], null)
    project.subscribe([`project:${first}`], null)
    all.subscribe(['tenant:default'], null)
    for (const client of [tickets, project, all]) await expect.poll(isLive(client)).toBe(true)
    await append(server,
      event(ticketId, { projectId: first }), event('T2', { projectId: first }), event('T3', { projectId: second }),
      event('C1', { projectId: first, subject: { kind: 'change', id: 'C1' }, type: 'change:created', data: { ticketId } }),
      event('claude', { subject: { kind: 'model', id: 'claude' }, type: 'model:circuit', projectId: null }), event('internal', { type: 'audit:internal' }), event('T9', { projectId: 'PRJ-NONE' }), event('last', { projectId: first }))
    await expect.poll(() => all.seen()).toEqual([ticketId, 'T2', 'T3', 'C1', 'claude', 'last'])
    await expect.poll(() => project.seen()).toEqual([ticketId, 'T2', 'C1', 'last'])
    await expect.poll(() => tickets.seen()).toEqual([ticketId, 'C1'])
  })

  test('a client that comes back with its cursor misses nothing and gets nothing twice, while others write', async () => {
    await using place = await make()
    await using server = await start(place)
    const total = 1_200
    const seen: string[] = []
    const writing = (async () => {
      for (let index = 0; index < total; index += 4) await append(server, event(`${index}`), event(`${index + 1}`), event(`${index + 2}`), event(`${index + 3}`))
    })()
    let cursor: string | null = null
    {
      using first = await connect(server)
      const { cursor: beginning } = await server.context.events.read(null, 1)
      // From the very beginning: the position before the first event is that of an empty log.
      first.subscribe(['tenant:default'], beginning)
      await expect.poll(() => first.seen().length, { timeout: 10_000 }).toBeGreaterThan(50)
      first.socket.terminate()
      await first.closed
      seen.push(...first.seen())
      const events = first.messages.filter((message) => message.type === 'event')
      cursor = events.at(-1)?.cursor ?? null
    }
    for (let round = 0; round < 3; round += 1) {
      using again = await connect(server)
      again.subscribe(['tenant:default'], cursor)
      const wanted = Math.min(total - 10, seen.length + 100)
      await expect.poll(() => seen.length + again.seen().length, { timeout: 20_000 }).toBeGreaterThanOrEqual(wanted)
      again.socket.terminate()
      await again.closed
      seen.push(...again.seen())
      cursor = again.messages.filter((message) => message.type === 'event').at(-1)?.cursor ?? cursor
    }
    await writing
    using last = await connect(server)
    last.subscribe(['tenant:default'], cursor)
    await expect.poll(() => seen.length + last.seen().length, { timeout: 20_000 }).toBeGreaterThanOrEqual(total - 1)
    seen.push(...last.seen())
    const first = Number(seen[0])
    expect(seen).toEqual(Array.from({ length: total - first }, (_, index) => String(index + first)))
  })

  test('a ticket opens one connection, once; a token in the URL opens none', async () => {
    await using place = await make()
    await using server = await start(place)
    const { ticket } = await server.admin.call(createLiveTicket)
    using client = await connect(server, { ticket })
    client.subscribe(['tenant:default'], null)
    await expect.poll(isLive(client)).toBe(true)
    await expect(connect(server, { ticket })).rejects.toThrow('401')
    await expect(connect(server, { ticket: server.adminToken })).rejects.toThrow('401')
    await expect(connect(server, {})).rejects.toThrow('401')
    const runner = await server.context.db.write((trx) => mintToken(trx, { kind: 'runner', subjectId: 'RUN-1' }))
    await expect(connect(server, { token: runner.token })).rejects.toThrow('403')
    const other = await server.admin.call(createLiveTicket)
    const asToken = await fetch(`${server.url}/api/system/live-tickets`, { method: 'POST', headers: { authorization: `Bearer ${other.ticket}` } })
    expect(asToken.status).toBe(401)
    expect(JSON.stringify(server.log)).not.toContain(ticket)
  })

  test('a bad cursor is answered, a bad message closes, and stopping says so', async () => {
    await using place = await make()
    const server = await start(place)
    using client = await connect(server)
    client.subscribe(['tenant:default'], 'nonsense')
    await expect.poll(() => client.messages).toMatchObject([{ type: 'error', error: { code: 'invalid_input' } }])
    client.subscribe(['tenant:default'], null)
    await expect.poll(isLive(client)).toBe(true)
    using broken = await connect(server)
    broken.socket.send('{"subscribe":{"rooms":["everything"],"cursor":null}}')
    expect((await broken.closed)[0]).toBe(LIVE_CLOSE_CODES.protocol)
    await server[Symbol.asyncDispose]()
    expect((await client.closed)[0]).toBe(LIVE_CLOSE_CODES.stopping)
  })

  if (dialect === 'sqlite') test('a client that does not read is cut off, and the others go on', async () => {
    await using place = await make()
    await using server = await start(place)
    using slow = await connect(server)
    using quick = await connect(server)
    slow.subscribe(['tenant:default'], null)
    quick.subscribe(['tenant:default'], null)
    await expect.poll(isLive(slow)).toBe(true)
    await expect.poll(isLive(quick)).toBe(true)
    slow.socket.pause()
    const text = 'x'.repeat(200_000)
    let written = 0
    await expect.poll(async () => {
      await append(server, event(`${written += 1}`, { data: { text } }))
      return (await server.context.metrics.registry.getSingleMetricAsString('swarm_live_slow_consumers_total')).includes('_total 1')
    }, { timeout: 20_000, interval: 5 }).toBe(true)
    await expect.poll(() => quick.seen().length, { timeout: 10_000 }).toBe(written)
    slow.socket.resume()
    expect((await slow.closed)[0]).toBeOneOf([LIVE_CLOSE_CODES.slow_consumer, 1006])
  })
})

describe('whatever the database', () => {
  test('a thousand clients that all come back at once miss nothing and get nothing twice', async () => {
    await using place = await sqlitePlace()
    await using server = await start(place)
    const { first } = await makeProjects(server)
    const clients = 1_000
    const seen: string[][] = Array.from({ length: clients }, () => [])
    const cursors: (string | null)[] = Array.from({ length: clients }, () => null)
    /** All of them at once, as after a restart of what is in front of the server; ends when each has everything until `last`. */
    const storm = async (last: string, whenLive: () => Promise<void>): Promise<void> => {
      let live = 0
      const told = Promise.withResolvers<void>()
      const sockets = await Promise.all(seen.map(async (events, at) => {
        const socket = new WebSocket(`${server.url.replace('http', 'ws')}/ws`, { headers: { authorization: `Bearer ${server.adminToken}` } })
        const done = Promise.withResolvers<void>()
        socket.on('error', (error) => { done.reject(error) })
        socket.on('message', (data) => {
          const message = LiveMessage.parse(JSON.parse(String(data)))
          if ('cursor' in message) cursors[at] = message.cursor
          if (message.type === 'phase' && message.phase === 'live' && (live += 1) === clients) told.resolve()
          if (message.type !== 'event') return
          events.push(message.event.subject.id)
          if (message.event.subject.id === last) done.resolve()
        })
        await once(socket, 'open')
        socket.send(JSON.stringify({ subscribe: { rooms: [`project:${first}`], cursor: cursors[at] } }))
        return { socket, done: done.promise }
      }))
      await told.promise
      await whenLive()
      await Promise.all(sockets.map(({ done }) => done))
      for (const { socket } of sockets) socket.terminate()
    }
    const name = (round: number, number: number): string => `${round}-${number}`
    const round = (number: number) => append(server, ...[0, 1, 2].map((each) => event(name(number, each), { projectId: first })))
    await storm(name(0, 2), () => round(0))
    // What happens while nobody is there comes with the next connection.
    await round(1)
    await storm(name(2, 2), () => round(2))
    const all = [0, 1, 2].flatMap((number) => [0, 1, 2].map((each) => name(number, each)))
    expect(seen.filter((events) => JSON.stringify(events) !== JSON.stringify(all))).toEqual([])
  }, 60_000)

  test('who loses the right to a room is closed with its code at once, and their session\'s end closes with another', async () => {
    await using place = await sqlitePlace()
    await using server = await start(place)
    const { first, second } = await makeProjects(server)
    const someone = await person(server, 'USR-LEAVES00', 'developer')
    using project = await connect(server, { token: someone.token })
    using tenant = await connect(server, { token: someone.token })
    await expect(connect(server, { ticket: 'swarm_live_nothing' })).rejects.toThrow('401')
    project.subscribe([`project:${first}`], null)
    tenant.subscribe(['tenant:default'], null)
    for (const client of [project, tenant]) await expect.poll(isLive(client)).toBe(true)
    await append(server, event('A', { projectId: first }), event('B', { projectId: second }))
    await expect.poll(() => tenant.seen()).toEqual(['A', 'B'])
    await server.admin.call(updateProject, { params: { projectId: first }, body: { settings: { visibility: 'members' } } })
    expect((await project.closed)[0]).toBe(LIVE_CLOSE_CODES.forbidden)
    // The organisation's room goes on, without what is not for them any more.
    await append(server, event('C', { projectId: first }), event('D', { projectId: second }))
    await expect.poll(() => tenant.seen()).toEqual(['A', 'B', 'D'])
    using refused = await connect(server, { token: someone.token })
    refused.subscribe([`project:${first}`], null)
    await expect.poll(() => refused.messages).toMatchObject([{ type: 'error', error: { code: 'not_found' } }])
    await someone.call(signOut)
    expect((await tenant.closed)[0]).toBe(LIVE_CLOSE_CODES.unauthenticated)
  })
})
