import { once } from 'node:events'
import { parseArgs } from 'node:util'
import WebSocket from 'ws'
import { LiveMessage } from '@swarm/contract/live-events.ts'

/*
 * A process with many live clients of one server; it ends with its stdin. Lines on stdout: `{"ready": clients}` when all of them
 * are live, then for each ticket that is created, once every client heard of it, `{"ticketId", "at": [ms since the epoch, …]}`.
 */

const { values } = parseArgs({ options: { url: { type: 'string' }, clients: { type: 'string', default: '1000' } } })
const token = process.env['SWARM_BENCH_TOKEN'] ?? ''
const count = Number(values.clients)
const heard = new Map<string, number[]>()

async function connect(): Promise<void> {
  const socket = new WebSocket(`${values.url!.replace(/^http/, 'ws')}/ws`, { headers: { authorization: `Bearer ${token}` } })
  const live = Promise.withResolvers<void>()
  socket.on('message', (data) => {
    const at = performance.timeOrigin + performance.now()
    const message = LiveMessage.parse(JSON.parse(String(data)))
    if (message.type === 'phase' && message.phase === 'live') live.resolve()
    if (message.type !== 'event' || message.event.type !== 'ticket:update' || message.event.data['from'] !== null) return
    const ticketId = message.event.subject.id
    const times = heard.get(ticketId) ?? []
    heard.set(ticketId, times)
    if (times.push(at) === count) process.stdout.write(`${JSON.stringify({ ticketId, at: times })}\n`)
  })
  socket.on('error', live.reject)
  await once(socket, 'open')
  socket.send(JSON.stringify({ subscribe: { rooms: ['tenant:default'], cursor: null } }))
  await live.promise
}

for (let made = 0; made < count; made += 50) await Promise.all(Array.from({ length: Math.min(50, count - made) }, connect))
process.stdout.write(`${JSON.stringify({ ready: count })}\n`)
process.stdin.resume().once('end', () => { process.exit(0) })
