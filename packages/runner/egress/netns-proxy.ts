import { Resolver } from 'node:dns/promises'
import net from 'node:net'
import { z } from 'zod'
import { compilePolicy } from './policy.ts'
import { createEgressProxy } from './proxy.ts'
import { answerNames, recordConnections, type Say } from './testing-network.ts'

/*
 * For the network namespace test, run inside the namespace: the proxy under test, recording listeners on every address, and a
 * small name server on UDP whose answers the test gives. One JSON line of settings on stdin; JSON lines of what happens on
 * stdout; ends with its stdin.
 */

const Settings = z.object({
  proxyPort: z.number(),
  listeners: z.array(z.object({ address: z.string(), port: z.number() })),
  /** Answers of a name, in turn; the last one stays. */
  names: z.record(z.string(), z.array(z.array(z.string()))),
  allow: z.array(z.string()),
  exemptions: z.array(z.object({ host: z.string(), cidr: z.string() })),
})

const say: Say = (event) => void process.stdout.write(`${JSON.stringify(event)}\n`)
const firstLine = await new Promise<string>((resolve) => {
  let text = ''
  process.stdin.on('data', (chunk: Buffer) => {
    text += chunk.toString('utf8')
    if (text.includes('\n')) resolve(text.slice(0, text.indexOf('\n')))
  })
})
process.stdin.on('end', () => process.exit(0))
const settings = Settings.parse(JSON.parse(firstLine))

await recordConnections(settings.listeners, say)
await answerNames(settings.names, say)

const resolver = new Resolver({ timeout: 2_000, tries: 1 })
resolver.setServers(['127.0.0.1'])
const proxy = createEgressProxy({
  correlationId: 'netns',
  policy: await compilePolicy({ allow: settings.allow, exemptions: settings.exemptions, npmRegistry: () => Promise.reject(new Error('not used here')) }),
  routes: { model: { url: 'http://127.0.0.1:8080/model', token: 'attempt-token' }, git: { url: 'http://127.0.0.1:8080/git', token: 'attempt-token' } },
  onRefusal: (refusal) => say({ refused: refusal.code, host: refusal.host, port: refusal.port }),
  limits: { connectTimeoutMs: 3_000 },
  // What getaddrinfo would give, from the name server of this namespace.
  lookup: async (host) => {
    const [v4, v6] = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)])
    const addresses = [...(v6.status === 'fulfilled' ? v6.value : []), ...(v4.status === 'fulfilled' ? v4.value : [])]
    if (addresses.length === 0 && v4.status === 'rejected') throw v4.reason
    return addresses.map((address) => ({ address, family: net.isIP(address) }))
  },
})
const door = net.createServer({ allowHalfOpen: true }, (socket) => proxy.accept(socket))
await new Promise<void>((resolve) => door.listen(settings.proxyPort, '127.0.0.1', resolve))

// Requests of the test: one JSON line each, raw bytes to the proxy, all that comes back.
let pending = ''
process.stdin.on('data', (chunk: Buffer) => {
  pending += chunk.toString('utf8')
  const lines = pending.split('\n')
  pending = lines.pop() ?? ''
  for (const line of lines) {
    const { id, text } = z.object({ id: z.number(), text: z.string() }).parse(JSON.parse(line))
    const socket = net.connect(settings.proxyPort, '127.0.0.1', () => socket.write(text, 'latin1'))
    let answer = ''
    socket.setEncoding('latin1').on('data', (data: string) => (answer += data)).on('error', () => undefined).once('close', () => say({ answered: id, answer }))
  }
})
say({ ready: true })
