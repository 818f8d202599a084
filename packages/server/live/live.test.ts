import { once } from 'node:events'
import { createLiveTicket } from '@swarm/contract/endpoints/system.ts'
import { LIVE_CLOSE_CODES, LiveMessage } from '@swarm/contract/live-events.ts'
import { expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { eachDialect, type TestDatabase } from '../db/testing.ts'
import { appendEvents, type NewEvent } from '../events/events.ts'
import { mintToken } from '../http/tokens.ts'
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

const event = (id: string, more: Partial<NewEvent> = {}): NewEvent => ({ type: 'ticket:update', projectId: 'PRJ-1', subject: { kind: 'ticket', id }, data: {}, ...more })
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
    tickets.subscribe(['ticket:T1', 'session:S1'], null)
    project.subscribe(['project:PRJ-1'], null)
    all.subscribe(['tenant:ORG-00000000'], null)
    for (const client of [tickets, project, all]) await expect.poll(isLive(client)).toBe(true)
    await append(server,
      event('T1'), event('T2'), event('T3', { projectId: 'PRJ-2' }), event('C1', { subject: { kind: 'change', id: 'C1' }, type: 'change:created', data: { ticketId: 'T1' } }),
      event('S1', { subject: { kind: 'session', id: 'S1' }, type: 'session:update', projectId: null }), event('internal', { type: 'audit:internal' }), event('last'))
    await expect.poll(() => all.seen()).toEqual(['T1', 'T2', 'T3', 'C1', 'S1', 'last'])
    await expect.poll(() => project.seen()).toEqual(['T1', 'T2', 'C1', 'last'])
    await expect.poll(() => tickets.seen()).toEqual(['T1', 'C1', 'S1'])
  })

  test('an organisation gets the events of its projects, and none of another', async () => {
    await using place = await make()
    await using server = await start(place)
    await server.context.db.write((trx) => trx.insertInto('projects').values({ id: 'PRJ-9', slug: 'theirs', name: 'theirs', settings: '{}', organization_id: 'ORG-9', created_at: 1 }).execute())
    using ours = await connect(server)
    using theirs = await connect(server)
    ours.subscribe(['tenant:ORG-00000000'], null)
    theirs.subscribe(['tenant:ORG-9'], null)
    for (const client of [ours, theirs]) await expect.poll(isLive(client)).toBe(true)
    await append(server, event('ours'), event('theirs', { projectId: 'PRJ-9' }), event('all', { projectId: null }), event('last', { projectId: 'PRJ-9' }))
    await expect.poll(() => theirs.seen()).toEqual(['theirs', 'last'])
    await expect.poll(() => ours.seen()).toEqual(['ours', 'all'])
    using late = await connect(server)
    late.subscribe(['tenant:ORG-9'], (await server.context.events.read(null, 1)).cursor)
    await expect.poll(() => late.seen()).toEqual(['theirs', 'last'])
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
      first.subscribe(['tenant:ORG-00000000'], beginning)
      await expect.poll(() => first.seen().length, { timeout: 10_000 }).toBeGreaterThan(50)
      first.socket.terminate()
      await first.closed
      seen.push(...first.seen())
      const events = first.messages.filter((message) => message.type === 'event')
      cursor = events.at(-1)?.cursor ?? null
    }
    for (let round = 0; round < 3; round += 1) {
      using again = await connect(server)
      again.subscribe(['tenant:ORG-00000000'], cursor)
      const wanted = Math.min(total - 10, seen.length + 100)
      await expect.poll(() => seen.length + again.seen().length, { timeout: 20_000 }).toBeGreaterThanOrEqual(wanted)
      again.socket.terminate()
      await again.closed
      seen.push(...again.seen())
      cursor = again.messages.filter((message) => message.type === 'event').at(-1)?.cursor ?? cursor
    }
    await writing
    using last = await connect(server)
    last.subscribe(['tenant:ORG-00000000'], cursor)
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
    client.subscribe(['tenant:ORG-00000000'], null)
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
    client.subscribe(['tenant:ORG-00000000'], 'nonsense')
    await expect.poll(() => client.messages).toMatchObject([{ type: 'error', error: { code: 'invalid_input' } }])
    client.subscribe(['tenant:ORG-00000000'], null)
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
    slow.subscribe(['tenant:ORG-00000000'], null)
    quick.subscribe(['tenant:ORG-00000000'], null)
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
