import { execFile } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import http, { type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import https from 'node:https'
import net, { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import tls from 'node:tls'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { trustEnvironment } from '@swarm/contract/guest-protocol.ts'
import type { BoundSecret } from '@swarm/contract/runner-protocol.ts'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createAuthorityHolder, type Authority } from './authority.ts'
import { authorityCertificate, serverCertificate } from './certificate.ts'
import { compilePolicy } from './policy.ts'
import { createEgressProxy, type EgressOptions, type Refusal } from './proxy.ts'
import { createEgressSecrets } from './secrets.ts'

/*
 * The proxy between a guest (real curl, git and Node, or a socket) and hosts on 127.0.0.1 that speak TLS under a certificate
 * authority of their own. `api.test` gets a secret; `other.test` gets none.
 */

const VALUE = 'planted-value-7Hq2+xY/9='
const TIMES = { notBeforeMs: Date.now() - 3_600_000, notAfterMs: Date.now() + 3_600_000 }
const world = { commonName: 'World', key: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey }
const WORLD = authorityCertificate(world, TIMES)
const BEARER: BoundSecret = { id: 'SEC-1', hosts: ['api.test'], injection: { kind: 'header', header: 'authorization', format: 'Bearer {secret}' }, value: VALUE }

let folder: string
let authority: Authority
/** What makes a program of the guest trust the proxy for these hosts. */
let trusting: Record<string, string>
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'swarm-egress-secrets-'))
  authority = await createAuthorityHolder(join(folder, 'authority.pem'))()
  for (const [name, content] of [['own.crt', authority.certificate], ['trusted.pem', authority.certificate + WORLD]] as const) writeFileSync(join(folder, name), content)
  trusting = trustEnvironment(join(folder, 'own.crt'), join(folder, 'trusted.pem'))
})
afterAll(() => { rmSync(folder, { recursive: true, force: true }) })
const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => { for (const cleanup of cleanups.splice(0).reverse()) await cleanup() })

async function listen(server: net.Server): Promise<number> {
  await once(server.listen(0, '127.0.0.1'), 'listening')
  cleanups.push(async () => {
    if (server instanceof http.Server || server instanceof https.Server) server.closeAllConnections()
    await new Promise((resolve) => { server.close(resolve) })
  })
  return (server.address() as AddressInfo).port
}

/** A host that answers for these names and keeps what it was asked. */
async function upstream(names: readonly string[], answer: (request: IncomingMessage, response: ServerResponse, body: string) => void = (_, response) => void response.end('hello'), issuer = world) {
  const seen: { host: string; url: string; headers: IncomingHttpHeaders; body: string }[] = []
  const contexts = new Map(names.map((host) => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    return [host, tls.createSecureContext({ key: privateKey.export({ type: 'pkcs8', format: 'pem' }), cert: serverCertificate(issuer, host, publicKey, TIMES) })]
  }))
  const server = https.createServer({ SNICallback: (name, done) => { done(null, contexts.get(name)) } }, (request, response) => {
    void text(request).then((body) => {
      seen.push({ host: request.headers.host ?? '', url: request.url ?? '', headers: request.headers, body })
      answer(request, response, body)
    })
  })
  return { port: await listen(server), seen }
}

async function guest(port: number, over: Partial<EgressOptions> & { secrets?: never; bound?: readonly BoundSecret[]; addresses?: Record<string, string> } = {}) {
  const refusals: Refusal[] = []
  const uses: string[] = []
  const { bound = [BEARER], addresses = {}, ...options } = over
  // Ports of the list are 80 and 443; here they are where the upstream listens.
  const policy = await compilePolicy({ allow: ['api.test', 'other.test'], ports: [80, port], exemptions: ['api.test', 'other.test'].map((host) => ({ host, cidr: '127.0.0.1/32' })), npmRegistry: () => Promise.reject(new Error('not used here')) })
  const proxy = createEgressProxy({
    correlationId: 'c', policy, routes: {}, onRefusal: (refusal) => refusals.push(refusal), ca: WORLD,
    lookup: async (host) => [{ address: addresses[host] ?? '127.0.0.1', family: 4 }], secrets: createEgressSecrets(bound, authority, (id) => uses.push(id)), ...options,
  })
  cleanups.push(async () => proxy[Symbol.asyncDispose]())
  const door = await listen(net.createServer({ allowHalfOpen: true }, (socket) => { proxy.accept(socket) }))
  const env = { PATH: process.env['PATH'] ?? '', HOME: folder, https_proxy: `http://127.0.0.1:${door}`, http_proxy: `http://127.0.0.1:${door}`, HTTPS_PROXY: `http://127.0.0.1:${door}`, GIT_TERMINAL_PROMPT: '0', NODE_USE_ENV_PROXY: '1', ...trusting }
  const run = async (file: string, ...args: string[]): Promise<string> => {
    const { stdout, stderr } = await promisify(execFile)(file, args, { env, timeout: 20_000 }).catch((error: { stdout: string; stderr: string }) => error)
    return stdout + stderr
  }
  return { door, refusals, uses, proxy, run, curl: (...args: string[]) => run('curl', '--silent', '--show-error', ...args) }
}

/** A TLS connection through the proxy's CONNECT, with any names. */
async function tunnel(door: number, host: string, port: number, servername = host): Promise<tls.TLSSocket> {
  const socket = net.connect(door, '127.0.0.1')
  socket.write(`CONNECT ${host}:${port} HTTP/1.1\r\nHost: ${host}:${port}\r\n\r\n`)
  await once(socket, 'data')
  const secure = tls.connect({ socket, servername, ca: [authority.certificate, WORLD], checkServerIdentity: () => undefined })
  await once(secure, 'secureConnect')
  return secure
}
const ask = async (socket: tls.TLSSocket, request: string): Promise<string> => {
  socket.write(request)
  return text(socket)
}

describe('a host that is bound to a secret', () => {
  test('gets its header from the proxy, by TLS that is checked, in the place of what the guest sent; real curl, git and Node go through', async () => {
    const api = await upstream(['api.test'])
    const { run, curl, refusals, uses, proxy } = await guest(api.port)
    expect(await curl('--request', 'POST', '--data', 'body', '--header', 'Authorization: Bearer forged', '--header', 'x-own: 1', `https://api.test:${api.port}/a?b`)).toBe('hello')
    await curl('--header', 'Connection: authorization', `https://api.test:${api.port}/named`)
    await run('git', 'ls-remote', `https://api.test:${api.port}/repository`)
    expect(await run(process.execPath, '--input-type=module', '--eval', `console.log(await (await fetch('https://api.test:${api.port}/node')).text())`)).toContain('hello')
    expect(api.seen.map(({ headers }) => headers.authorization)).toEqual(api.seen.map(() => `Bearer ${VALUE}`))
    expect(api.seen.map(({ url }) => url)).toEqual(expect.arrayContaining(['/a?b', '/node', '/repository/info/refs?service=git-upload-pack']))
    expect(api.seen[0]).toMatchObject({ host: `api.test:${api.port}`, body: 'body', headers: { 'x-own': '1', 'accept-encoding': 'identity' } })
    expect(refusals).toEqual([])
    // Not once for each request.
    expect(uses).toEqual(['SEC-1'])
    expect(proxy.stats().egressBytes).toBeGreaterThan(100)
  })

  test('gets HTTP Basic where it is bound so, and the headers of several secrets', async () => {
    const api = await upstream(['api.test'])
    const { curl } = await guest(api.port, { bound: [
      { ...BEARER, injection: { kind: 'basic', username: 'x-access-token' } }, { ...BEARER, id: 'SEC-2', injection: { kind: 'header', header: 'x-key', format: '{secret}' }, value: 'another-planted-value' },
    ] })
    await curl(`https://api.test:${api.port}/`)
    expect(api.seen[0]?.headers).toMatchObject({ authorization: `Basic ${Buffer.from(`x-access-token:${VALUE}`).toString('base64')}`, 'x-key': 'another-planted-value' })
  })

  test('cannot tell the guest by repeating it: header and body are masked, encoded forms too; an answer that is encoded all the same is refused', async () => {
    const api = await upstream(['api.test'], (request, response) => {
      if (request.url === '/gzip') return void response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(VALUE))
      response.setHeader('x-echo', request.headers.authorization ?? '')
      response.write(`${VALUE.slice(0, 9)}`)
      response.end(`${VALUE.slice(9)} ${Buffer.from(VALUE).toString('base64')} ${encodeURIComponent(VALUE)} end`)
    })
    const { curl, refusals } = await guest(api.port)
    const answer = await curl('--include', `https://api.test:${api.port}/`)
    expect(answer).toContain(`x-echo: Bearer ${'*'.repeat(VALUE.length)}\r\n`)
    expect(answer).toMatch(/\n\*+ \*+ \*+ end$/)
    expect(await curl(`https://api.test:${api.port}/gzip`)).toContain('egress_answer_encoded')
    expect(refusals).toMatchObject([{ code: 'egress_answer_encoded', host: 'api.test' }])
  })

  test('is not reached by plain HTTP, neither as it is nor in a tunnel', async () => {
    const api = await upstream(['api.test'])
    const { curl, refusals } = await guest(api.port)
    expect(await curl('http://api.test/')).toContain('egress_secret_needs_tls')
    expect(await curl('--proxytunnel', 'http://api.test/')).toContain('egress_secret_needs_tls')
    expect(refusals).toMatchObject([{ code: 'egress_secret_needs_tls', host: 'api.test', port: 80 }])
    expect(api.seen).toEqual([])
  })

  test('gets nothing when its own certificate is not right, and nothing at an address that is forbidden', async () => {
    const impostor = await upstream(['api.test'], undefined, { commonName: 'Impostor', key: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey })
    const elsewhere = await upstream(['other.test'])
    for (const [port, over, code] of [[impostor.port, {}, 'egress_unreachable'], [elsewhere.port, {}, 'egress_unreachable'], [impostor.port, { addresses: { 'api.test': '10.0.0.1' } }, 'egress_address_refused']] as const) {
      const { curl, uses } = await guest(port, over)
      expect(await curl(`https://api.test:${port}/`)).toContain(code)
      expect(uses).toEqual([])
    }
    expect([impostor.seen, elsewhere.seen]).toEqual([[], []])
  })

  test('is the one that the tunnel is for: another name in TLS or in the Host header gets nothing', async () => {
    const api = await upstream(['api.test', 'other.test'])
    const { door, refusals } = await guest(api.port)
    await expect(tunnel(door, 'api.test', api.port, 'other.test')).rejects.toThrow()
    const answer = await ask(await tunnel(door, 'api.test', api.port), `GET / HTTP/1.1\r\nHost: other.test:${api.port}\r\nConnection: close\r\n\r\n`)
    expect(answer).toContain('egress_host_mismatch')
    expect(refusals.map(({ code }) => code)).toEqual(['egress_host_mismatch'])
    expect(api.seen).toEqual([])
  })

  test('decides each request of one connection for itself, and only HTTP/1.1 is agreed on', async () => {
    const api = await upstream(['api.test'])
    const { door } = await guest(api.port)
    const socket = await tunnel(door, 'api.test', api.port)
    const request = (more: string): string => `GET / HTTP/1.1\r\nHost: api.test:${api.port}\r\n${more}\r\n`
    expect((await ask(socket, request('') + request('Connection: close\r\n'))).match(/HTTP\/1.1 200/g)).toHaveLength(2)
    expect(api.seen).toHaveLength(2)
    const raw = net.connect(door, '127.0.0.1')
    raw.write(`CONNECT api.test:${api.port} HTTP/1.1\r\nHost: api.test:${api.port}\r\n\r\n`)
    await once(raw, 'data')
    const both = tls.connect({ socket: raw, servername: 'api.test', ca: authority.certificate, ALPNProtocols: ['h2', 'http/1.1'] })
    await once(both, 'secureConnect')
    expect(both.alpnProtocol).toBe('http/1.1')
    both.destroy()
  })
})

test('any other host is tunnelled as it is: its own certificate is seen, and a redirect to it carries nothing', async () => {
  const both = await upstream(['api.test', 'other.test'], (request, response) => {
    if (request.url === '/away') response.writeHead(302, { location: `https://other.test:${both.port}/arrived` })
    response.end('there')
  })
  const { door, curl } = await guest(both.port)
  expect(await curl('--location', `https://api.test:${both.port}/away`)).toBe('there')
  expect(both.seen.map(({ url, headers }) => [url, headers.authorization])).toEqual([['/away', `Bearer ${VALUE}`], ['/arrived', undefined]])
  const socket = await tunnel(door, 'other.test', both.port)
  expect(socket.getPeerCertificate().issuer.CN).toBe('World')
  socket.destroy()
})

test('the way to a host that gets secrets may lead through an upstream proxy, by a tunnel: that proxy sees nothing of it', async () => {
  const api = await upstream(['api.test'])
  const carried: Buffer[] = []
  let open = 0
  const middle = http.createServer().on('connect', (request, socket) => {
    const on = net.connect(api.port, '127.0.0.1', () => { socket.write('HTTP/1.1 200 OK\r\n\r\n') })
    socket.on('data', (chunk: Buffer) => { carried.push(chunk) }).pipe(on).pipe(socket)
    open++
    on.on('error', () => { socket.destroy() }).once('close', () => { socket.destroy() })
    socket.on('error', () => { on.destroy() }).once('close', () => { open-- })
    carried.push(Buffer.from(request.url ?? ''))
  })
  const { curl } = await guest(api.port, { upstreamProxy: { url: `http://127.0.0.1:${await listen(middle)}` } })
  expect(await curl(`https://api.test:${api.port}/`)).toBe('hello')
  expect(api.seen[0]?.headers.authorization).toBe(`Bearer ${VALUE}`)
  expect(Buffer.concat(carried).toString('latin1')).toContain(`api.test:${api.port}`)
  expect(Buffer.concat(carried).toString('latin1')).not.toContain(VALUE)
  await expect.poll(() => open).toBe(0)
})
