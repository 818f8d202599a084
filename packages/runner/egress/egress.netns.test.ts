import { execFileSync, spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ALLOWED, ATTACKS, connect, EXEMPT, EXEMPTIONS, FORBIDDEN, get, LISTED_NAMES, LITERALS, NAMES, OTHER_PUBLIC, PUBLIC, PUBLIC_V6 } from './testing-attacks.ts'

/*
 * The proxy in a network namespace of its own, with recording listeners on made-up public, LAN, metadata and loopback
 * addresses: what must not be reached is shown not to be reached, rather than to be answered with an error.
 */

const namespace = `swarm-test-${randomBytes(4).toString('hex')}`
const ip = (...args: string[]): string => execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
/** Namespaces need root; without it there is nothing to test here, and the run says so. */
const canMakeNamespace = ((): boolean => {
  try {
    execFileSync('unshare', ['--net', 'ip', 'link', 'set', 'lo', 'up'], { stdio: 'pipe' })
    return true
  } catch (error) {
    process.stderr.write(`no network namespace can be made here, so the egress test in one is skipped: ${String(error)}\n`)
    return false
  }
})()

interface Happening { reached?: string; got?: string; text?: string; asked?: string; refused?: string; answered?: number; answer?: string; ready?: boolean }
let child: ChildProcessWithoutNullStreams
const happened: Happening[] = []
const waiting = new Map<number, (answer: string) => void>()
let nextId = 0

async function send(text: string): Promise<{ answer: string; happenings: Happening[] }> {
  const from = happened.length
  const id = ++nextId
  const answer = await new Promise<string>((resolve) => {
    waiting.set(id, resolve)
    child.stdin.write(`${JSON.stringify({ id, text })}\n`)
  })
  return { answer, happenings: happened.slice(from) }
}
const reachedIn = (happenings: Happening[]): string[] => happenings.flatMap((happening) => happening.reached ?? [])

describe.skipIf(!canMakeNamespace)('egress from a network namespace', () => {
  beforeAll(async () => {
    ip('netns', 'add', namespace)
    const inside = (...args: string[]): string => ip('-n', namespace, ...args)
    inside('link', 'set', 'lo', 'up')
    const addresses = [PUBLIC, PUBLIC_V6, OTHER_PUBLIC, EXEMPT, ...FORBIDDEN]
    for (const address of addresses) inside('addr', 'add', `${address}/${address.includes(':') ? 128 : 32}`, 'dev', 'lo')
    child = spawn('ip', ['netns', 'exec', namespace, process.execPath, fileURLToPath(new URL('netns-proxy.ts', import.meta.url))], { stdio: ['pipe', 'pipe', 'pipe'] })
    let stderr = ''
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString('utf8')))
    const ready = Promise.withResolvers<void>()
    child.once('exit', (code) => ready.reject(new Error(`the process in the namespace ended with ${code}: ${stderr}`)))
    let rest = ''
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        const happening = JSON.parse(line) as Happening
        happened.push(happening)
        if (happening.ready === true) ready.resolve()
        if (happening.answered !== undefined) waiting.get(happening.answered)?.(happening.answer ?? '')
      }
    })
    const everywhere = [...addresses, '127.0.0.1', '::1'].flatMap((address) => [80, 443, 8080, 22].map((port) => ({ address, port })))
    child.stdin.write(`${JSON.stringify({ proxyPort: 3128, listeners: everywhere, allow: ALLOWED, exemptions: EXEMPTIONS, names: NAMES })}\n`)
    await ready.promise
  })

  afterAll(async () => {
    if (child !== undefined && child.exitCode === null) {
      child.stdin.end()
      await once(child, 'exit')
    }
    ip('netns', 'del', namespace)
  })

  test.each([['good.test', `${PUBLIC} 80`], ['v6.test', `${PUBLIC_V6} 80`], ['a.wild.test', `${PUBLIC} 80`], ['inner.test', `${EXEMPT} 80`]])('plain HTTP to %s reaches %s', async (host, place) => {
    const { answer, happenings } = await send(get(host))
    expect(answer).toMatch(/^HTTP\/1.1 200 /)
    expect(reachedIn(happenings)).toEqual([place])
    expect(happenings.find((happening) => happening.got === place)?.text).toContain(`Host: ${host}\r\n`)
  })

  test('a tunnel to port 443 reaches the host and carries bytes both ways', async () => {
    const { answer, happenings } = await send(connect('good.test:443'))
    expect(answer).toBe('HTTP/1.1 200 Connection Established\r\n\r\n\x16\x03\x01handshake')
    expect(reachedIn(happenings)).toEqual([`${PUBLIC} 443`])
  })

  test('model calls reach the server of Swarm on the loopback of the host, and nothing else there', async () => {
    const { happenings } = await send('POST http://model.swarm.internal/v1/messages HTTP/1.1\r\nHost: model.swarm.internal\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
    expect(reachedIn(happenings)).toEqual(['127.0.0.1 8080'])
    expect(happenings.find((happening) => happening.got !== undefined)?.text).toContain('POST /model/v1/messages')
    for (const text of [get('model.swarm.internal'), get('git.swarm.internal'), connect('model.swarm.internal:8080'), connect('model.swarm.internal:443')]) expect(reachedIn((await send(text)).happenings)).toEqual([])
  })

  test.each(LISTED_NAMES)('%s, which is on the list and leads to %s, is refused and nothing is reached', async (host) => {
    for (const text of [get(host), connect(`${host}:443`), connect(`${host}:80`, `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)]) {
      const { answer, happenings } = await send(text)
      expect(answer).toContain('egress_address_refused')
      expect(reachedIn(happenings)).toEqual([])
      expect(happenings.some((happening) => happening.asked?.startsWith(host))).toBe(true)
    }
  })

  test('a name that rebinds is connected to where it was checked, and refused once it answers otherwise', async () => {
    const first = await send(connect('rebind.test:443'))
    expect(reachedIn(first.happenings)).toEqual([`${PUBLIC} 443`])
    // One question for each family and no second one between check and connection.
    expect(first.happenings.filter((happening) => happening.asked !== undefined)).toHaveLength(2)
    const second = await send(connect('rebind.test:443'))
    expect(second.answer).toContain('egress_address_refused')
    expect(reachedIn(second.happenings)).toEqual([])
  })

  test.each(LITERALS)('the literal %s is refused, neither looked up nor reached', async (literal) => {
    for (const text of [get(literal), get(`${literal}:80`), connect(`${literal}:443`), connect(`${literal}:80`)]) {
      const { answer, happenings } = await send(text)
      expect(answer).toMatch(/^HTTP\/1.1 403 /)
      expect(happenings.filter((happening) => happening.reached !== undefined || happening.asked !== undefined)).toEqual([])
    }
  })

  test.each(ATTACKS)('%s reaches nobody, and is refused for what it is', async (_, text, code) => {
    const { answer, happenings } = await send(text)
    expect(reachedIn(happenings)).toEqual([])
    expect(happenings.flatMap((happening) => happening.refused ?? []).concat(answer).join(' ')).toContain(code)
  })

  test('plain bytes in a tunnel to port 443 are not carried', async () => {
    const { happenings } = await send(connect('good.test:443', 'GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n'))
    expect(happenings.filter((happening) => happening.got !== undefined)).toEqual([])
  })

  test('a smuggled second request is a request of its own, judged for itself', async () => {
    const { answer, happenings } = await send(`GET http://good.test/ HTTP/1.1\r\nHost: good.test\r\n\r\n${get('169.254.169.254')}`)
    expect(answer.match(/HTTP\/1.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 403'])
    expect(reachedIn(happenings)).toEqual([`${PUBLIC} 80`])
  })

  test('in all of this no listener on a forbidden address was ever reached', () => {
    const reached = new Set(happened.flatMap((happening) => happening.reached ?? []).map((place) => place.split(' ')[0]))
    expect([...reached].sort()).toEqual(['10.99.0.5', '127.0.0.1', PUBLIC_V6, PUBLIC].sort())
    expect(new Set(happened.flatMap((happening) => happening.reached ?? []).filter((place) => place.startsWith('127.')))).toEqual(new Set(['127.0.0.1 8080']))
  })
})
