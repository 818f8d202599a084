import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterEach, describe, expect, test } from 'vitest'
import { compilePolicy } from './policy.ts'
import { createEgressProxy, type EgressOptions, type EgressProxy, type Refusal } from './proxy.ts'

const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => { for (const cleanup of cleanups.splice(0).reverse()) await cleanup() })

async function listen(server: net.Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanups.push(() => new Promise((resolve) => {
    if (server instanceof http.Server) server.closeAllConnections()
    server.close(resolve)
  }))
  return (server.address() as AddressInfo).port
}

interface Recorded { method: string; url: string; headers: http.IncomingHttpHeaders; body: string }
async function recorder(answer: (request: IncomingMessage, response: ServerResponse, body: string) => void = (_, response) => void response.end('hello')): Promise<{ port: number; seen: Recorded[] }> {
  const seen: Recorded[] = []
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString('utf8')
      seen.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers, body })
      answer(request, response, body)
    })
  })
  return { port: await listen(server), seen }
}

interface Guest { port: number; proxy: EgressProxy; refusals: Refusal[] }
/** A proxy whose guest is a local TCP port. `registry` becomes an allowed plain HTTP host on 127.0.0.1. */
async function guest(over: Partial<EgressOptions> & { registryPort?: number; serverPort?: number; allow?: string[]; addresses?: Record<string, string[]>; exempt?: boolean } = {}): Promise<Guest> {
  const refusals: Refusal[] = []
  const { registryPort, serverPort = 9, allow = [], addresses = {}, exempt = true, ...options } = over
  const policy = await compilePolicy({
    allow: [...allow, ...(registryPort === undefined ? [] : ['preset:npm'])],
    exemptions: exempt ? [{ host: 'registry.test', cidr: '127.0.0.0/8' }] : [],
    npmRegistry: () => Promise.resolve(`http://registry.test:${registryPort}/`),
  })
  const proxy = createEgressProxy({
    correlationId: 'correlation-7',
    policy,
    routes: { model: { url: `http://127.0.0.1:${serverPort}/model`, token: 'attempt-token' }, git: { url: `http://127.0.0.1:${serverPort}/git`, token: 'attempt-token' } },
    onRefusal: (refusal) => refusals.push(refusal),
    lookup: (host) => Promise.resolve((addresses[host] ?? ['127.0.0.1']).map((address) => ({ address, family: net.isIP(address) }))),
    ...options,
  })
  cleanups.push(async () => proxy[Symbol.asyncDispose]())
  const port = await listen(net.createServer({ allowHalfOpen: true }, (socket) => proxy.accept(socket)))
  return { port, proxy, refusals }
}

/** Writes raw bytes to the proxy and gives all that comes back until it closes (a guest that ends its side is taken for gone). */
function raw(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1', () => socket.write(text, 'latin1'))
    let answer = ''
    socket.setEncoding('latin1').on('data', (chunk: string) => (answer += chunk)).once('close', () => resolve(answer)).once('error', reject)
  })
}
const codeOf = (answer: string): string => /"code":"(\w+)"/.exec(answer)?.[1] ?? answer.slice(0, 200)
const get = (host: string, path = '/', more = ''): string => `GET http://${host}${path} HTTP/1.1\r\nHost: ${host}\r\n${more}Connection: close\r\n\r\n`

describe('the routes to Swarm', () => {
  test('carry model calls to the server with the token of the attempt, whatever the guest claims', async () => {
    const server = await recorder()
    const { port } = await guest({ serverPort: server.port })
    const body = '{"model":"x"}'
    const answer = await raw(port, `POST http://model.swarm.internal/v1/messages?beta=true HTTP/1.1\r\nHost: model.swarm.internal\r\nAuthorization: Bearer forged\r\nx-api-key: forged\r\nX-Correlation-Id: forged\r\nX-Forwarded-For: 1.2.3.4\r\nCookie: a=b\r\nx-swarm-role: developer\r\nConnection: close, x-drop\r\nx-drop: me\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
    expect(answer).toMatch(/^HTTP\/1.1 200 OK\r\n/)
    expect(server.seen).toMatchObject([{ method: 'POST', url: '/model/v1/messages?beta=true', body, headers: { authorization: 'Bearer attempt-token', 'x-correlation-id': 'correlation-7', 'x-swarm-role': 'developer', host: `127.0.0.1:${server.port}` } }])
    expect(Object.keys(server.seen[0]?.headers ?? {}).filter((name) => /x-api-key|cookie|forwarded|x-drop/.test(name))).toEqual([])
    expect(JSON.stringify(server.seen)).not.toContain('forged')
  })

  test('stream both ways without waiting for the end', async () => {
    let upstream: ServerResponse | undefined
    const got: string[] = []
    const server = http.createServer((request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
      upstream = response
      request.on('data', (chunk: Buffer) => response.write(`echo ${chunk.toString('utf8')}`))
      request.on('end', () => response.end('end'))
    })
    const { port } = await guest({ serverPort: await listen(server) })
    const request = http.request({ port, host: '127.0.0.1', method: 'POST', path: 'http://model.swarm.internal/v1/messages', headers: { host: 'model.swarm.internal', 'transfer-encoding': 'chunked', connection: 'close' } })
    request.flushHeaders()
    const response = await new Promise<IncomingMessage>((resolve, reject) => request.once('response', resolve).once('error', reject))
    expect(upstream).toBeDefined()
    for (const word of ['one', 'two']) {
      request.write(word)
      got.push(await new Promise<string>((resolve) => response.once('data', (chunk: Buffer) => resolve(chunk.toString('utf8')))))
    }
    expect(got).toEqual(['echo one', 'echo two'])
    const ended = new Promise((resolve) => response.once('end', resolve))
    request.end()
    response.resume()
    await ended
  })

  test('end the call at the server when the guest goes away', async () => {
    const gone = Promise.withResolvers<string>()
    const begun = Promise.withResolvers<void>()
    const server = http.createServer((_, response) => {
      response.once('close', () => gone.resolve('closed'))
      response.writeHead(200).flushHeaders()
      begun.resolve()
    })
    const { port, refusals } = await guest({ serverPort: await listen(server) })
    const socket = net.connect(port, '127.0.0.1', () => socket.write('POST http://model.swarm.internal/v1/messages HTTP/1.1\r\nHost: model.swarm.internal\r\nContent-Length: 0\r\n\r\n'))
    socket.on('error', () => undefined)
    await begun.promise
    socket.destroy()
    expect(await gone.promise).toBe('closed')
    expect(refusals).toEqual([])
  })

  test('answer through a CONNECT tunnel to port 80 too, as some clients ask', async () => {
    const server = await recorder()
    const { port } = await guest({ serverPort: server.port })
    const answer = await raw(port, 'CONNECT git.swarm.internal:80 HTTP/1.1\r\nHost: git.swarm.internal:80\r\n\r\nGET /PRJ-1/REP-1/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: git.swarm.internal\r\nConnection: close\r\n\r\n')
    expect(answer).toContain('hello')
    expect(server.seen).toMatchObject([{ url: '/git/PRJ-1/REP-1/info/refs?service=git-upload-pack', headers: { authorization: 'Bearer attempt-token' } }])
  })

  test('let real git clone, and push a pack in chunks', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'swarm-egress-git-'))
    cleanups.push(() => rm(folder, { recursive: true, force: true }))
    const encodings: string[] = []
    const server = http.createServer((request, response) => {
      const url = new URL(request.url ?? '', 'http://x')
      if (request.method === 'POST') encodings.push(request.headers['transfer-encoding'] ?? 'length')
      const backend = spawn('git', ['http-backend'], { env: { PATH: process.env['PATH'], GIT_PROJECT_ROOT: folder, GIT_HTTP_EXPORT_ALL: '1', PATH_INFO: url.pathname.replace('/git/', '/'), QUERY_STRING: url.search.slice(1), REQUEST_METHOD: request.method, CONTENT_TYPE: request.headers['content-type'], HTTP_CONTENT_ENCODING: request.headers['content-encoding'], REMOTE_USER: request.headers.authorization === 'Bearer attempt-token' ? 'attempt' : undefined } })
      const out: Buffer[] = []
      backend.stdin.on('error', () => undefined)
      request.pipe(backend.stdin)
      backend.stdout.on('data', (chunk: Buffer) => out.push(chunk))
      backend.once('close', () => {
        const all = Buffer.concat(out)
        const end = all.indexOf('\r\n\r\n')
        const headers = Object.fromEntries(all.subarray(0, end).toString('latin1').split('\r\n').map((line) => line.split(': ')))
        response.writeHead(Number.parseInt(headers['Status'] ?? '200', 10), { 'content-type': headers['Content-Type'] }).end(all.subarray(end + 4))
      })
    })
    const { port, refusals } = await guest({ serverPort: await listen(server) })
    const env = { PATH: process.env['PATH'], HOME: folder, http_proxy: `http://127.0.0.1:${port}`, GIT_TERMINAL_PROMPT: '0', GIT_AUTHOR_NAME: 'Test', GIT_AUTHOR_EMAIL: 'test@localhost', GIT_COMMITTER_NAME: 'Test', GIT_COMMITTER_EMAIL: 'test@localhost' }
    const git = (cwd: string, ...args: string[]): Promise<unknown> => promisify(execFile)('git', args, { cwd, env })
    await git(folder, 'init', '--quiet', '--bare', 'PRJ-1/REP-1')
    await git(folder, 'clone', '--quiet', 'http://git.swarm.internal/PRJ-1/REP-1', 'clone')
    const clone = path.join(folder, 'clone')
    await writeFile(path.join(clone, 'noise'), randomBytes(3_000_000))
    await git(clone, 'add', 'noise')
    await git(clone, 'commit', '--quiet', '--message', 'Noise')
    await git(clone, 'push', '--quiet', 'origin', 'HEAD:refs/heads/work')
    const { stdout } = await promisify(execFile)('git', ['-C', path.join(folder, 'PRJ-1/REP-1'), 'cat-file', '-s', 'refs/heads/work:noise'])
    expect(stdout.trim()).toBe('3000000')
    expect(encodings).toContain('chunked')
    expect(refusals).toEqual([])
  })

  test.each([
    ['GET', 'model.swarm.internal', '/v1/messages', 'egress_route_unknown'], ['POST', 'model.swarm.internal', '/v1/models', 'egress_route_unknown'], ['POST', 'model.swarm.internal', '/v1/messages/../../api/tickets', 'egress_route_unknown'],
    ['POST', 'model.swarm.internal', '//evil/v1/messages', 'egress_route_unknown'], ['GET', 'git.swarm.internal', '/PRJ-1/../info/refs?service=git-upload-pack', 'egress_route_unknown'], ['GET', 'git.swarm.internal', '/PRJ-1/REP-1/config', 'egress_route_unknown'],
    ['POST', 'model.swarm.internal:8080', '/v1/messages', 'egress_port_refused'], ['POST', 'api.swarm.internal', '/', 'egress_host_not_allowed'], ['POST', 'x.model.swarm.internal', '/v1/messages', 'egress_host_not_allowed'],
  ])('refuse %s http://%s%s', async (method, host, path, code) => {
    const server = await recorder()
    const { port, refusals } = await guest({ serverPort: server.port })
    const answer = await raw(port, `${method} http://${host}${path} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 0\r\n\r\n`)
    expect(codeOf(answer)).toBe(code)
    expect(server.seen).toEqual([])
    expect(refusals).toMatchObject([{ code, method }])
  })

  test('say what is wrong when the server does not answer', async () => {
    const { port } = await guest({ serverPort: 9 })
    const answer = await raw(port, 'POST http://model.swarm.internal/v1/messages HTTP/1.1\r\nHost: model.swarm.internal\r\nContent-Length: 0\r\n\r\n')
    expect(answer).toMatch(/^HTTP\/1.1 502 /)
    expect(codeOf(answer)).toBe('egress_unreachable')
  })
})

describe('hosts of the allow-list', () => {
  test('are reached by plain HTTP, requests written anew', async () => {
    const registry = await recorder((_, response) => void response.writeHead(201, ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'Keep-Alive', 'timeout=5']).end('made'))
    const { port, proxy, refusals } = await guest({ registryPort: registry.port })
    const host = `registry.test:${registry.port}`
    const answer = await raw(port, `POST http://REGISTRY.test:${registry.port}/a%20b?c HTTP/1.1\r\nHost: ${host}\r\nProxy-Authorization: Basic x\r\nAuthorization: Bearer own\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n`)
    expect(answer).toMatch(/^HTTP\/1.1 201 Created\r\n/)
    expect(answer.match(/Set-Cookie: .=./g)).toEqual(['Set-Cookie: a=1', 'Set-Cookie: b=2'])
    expect(registry.seen).toMatchObject([{ method: 'POST', url: '/a%20b?c', body: 'hello', headers: { host, authorization: 'Bearer own' } }])
    expect(registry.seen[0]?.headers['proxy-authorization']).toBeUndefined()
    expect(proxy.stats().egressBytes).toBeGreaterThan(100)
    expect(refusals).toEqual([])
  })

  test('serve many requests on one connection of the guest, each judged for itself', async () => {
    const registry = await recorder()
    const { port } = await guest({ registryPort: registry.port })
    const host = `registry.test:${registry.port}`
    const keep = (name: string): string => `GET http://${name}/ HTTP/1.1\r\nHost: ${name}\r\n\r\n`
    const answer = await raw(port, keep(host) + keep(host) + get('other.test'))
    expect(answer.match(/HTTP\/1.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 200', 'HTTP/1.1 403'])
    expect(registry.seen).toHaveLength(2)
  })

  test('work with real curl and real git through the proxy variables', async () => {
    const registry = await recorder()
    const { port } = await guest({ registryPort: registry.port })
    const env = { PATH: process.env['PATH'], http_proxy: `http://127.0.0.1:${port}`, GIT_TERMINAL_PROMPT: '0' }
    const { stdout } = await promisify(execFile)('curl', ['--silent', `http://registry.test:${registry.port}/x`], { env })
    expect(stdout).toBe('hello')
    await expect(promisify(execFile)('git', ['ls-remote', 'http://elsewhere.test/repo'], { env })).rejects.toThrow(/403/)
  })

  test("work with Node's own fetch, which tunnels", async () => {
    const registry = await recorder()
    const { port } = await guest({ registryPort: registry.port })
    const script = `const r = await fetch('http://registry.test:${registry.port}/f', {method: 'POST', body: 'hi'}); console.log(r.status, await r.text()); console.log((await fetch('http://evil.test/')).status)`
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], { env: { NODE_USE_ENV_PROXY: '1', http_proxy: `http://127.0.0.1:${port}` } }).catch((error: { stdout: string; stderr: string }) => ({ stdout: error.stdout + error.stderr }))
    expect(stdout).toMatch(/^200 hello\n/)
    expect(stdout).toMatch(/403/)
    expect(registry.seen).toMatchObject([{ url: '/f', body: 'hi' }])
  })

  test('end with the byte budget, which is stated', async () => {
    const registry = await recorder((_, response) => void response.end('x'.repeat(100_000)))
    const { port, refusals } = await guest({ registryPort: registry.port, limits: { egressBytes: 50_000 } })
    const host = `registry.test:${registry.port}`
    const cut = await raw(port, get(host))
    expect(cut.length).toBeLessThan(60_000)
    expect(codeOf(await raw(port, get(host)))).toBe('egress_bytes_exhausted')
    expect(refusals).toMatchObject([{ code: 'egress_bytes_exhausted' }])
    expect(registry.seen).toHaveLength(1)
  })
})

describe('what is refused', () => {
  const forms: [string, string, string][] = [
    ['a host off the list', 'evil.test', 'egress_host_not_allowed'],
    ['a name that ends in an allowed one', 'evilregistry.test', 'egress_host_not_allowed'],
    ['a name below an exact one', 'a.registry.test', 'egress_host_not_allowed'],
    ['an odd port', 'good.test:8080', 'egress_port_refused'],
    ['the port of TLS by plain HTTP', 'good.test:443', 'egress_request_refused'],
    ['a port that is no number', 'good.test:80a', 'egress_port_refused'],
    ['user information', 'good.test@evil.test', 'egress_host_invalid'],
    ['user information the other way', 'evil.test:80@good.test', 'egress_host_invalid'],
    ['a backslash', 'evil.test\\.good.test', 'egress_request_refused'],
    ['a percent sign', 'good%2etest', 'egress_ip_literal'],
    ['a trailing dot', 'good.test.', 'egress_host_invalid'],
    ['dotted decimal', '127.0.0.1', 'egress_ip_literal'],
    ['a public address', '8.8.8.8', 'egress_ip_literal'],
    ['a decimal number', '2130706433', 'egress_ip_literal'],
    ['octal', '0177.0.0.1', 'egress_ip_literal'],
    ['hexadecimal', '0x7f.1', 'egress_ip_literal'],
    ['a short form', '127.1', 'egress_ip_literal'],
    ['IPv6', '[::1]', 'egress_ip_literal'],
    ['mapped IPv4', '[::ffff:169.254.169.254]', 'egress_ip_literal'],
    ['IPv6 with a zone', '[fe80::1%25eth0]', 'egress_ip_literal'],
    ['IPv6 without brackets', '::1', 'egress_ip_literal'],
  ]
  test.each(forms)('%s, by plain HTTP and by CONNECT', async (_, host, code) => {
    const { port, refusals } = await guest({ allow: ['good.test', 'registry.test'], lookup: () => { throw new Error('it was looked up') } })
    expect(codeOf(await raw(port, get(host)))).toBe(code)
    const answer = await raw(port, `CONNECT ${/:\d+$/.test(host) && !host.startsWith('::') ? host : `${host}:443`} HTTP/1.1\r\n\r\n`)
    expect(answer).toMatch(/^HTTP\/1.1 (403|502) /)
    expect(refusals[0]).toMatchObject({ code, message: expect.any(String), remedy: expect.any(String) })
  })

  test.each<[string, string[], string]>([
    ['private', ['93.184.216.34', '10.0.0.1'], '10.0.0.1'], ['loopback', ['127.0.0.1'], '127.0.0.1'], ['metadata', ['169.254.169.254'], '169.254.169.254'], ['metadata', ['::ffff:169.254.169.254'], '::ffff'], ['loopback', ['::1'], '0:0:0:0:0:0:0:1'],
    ['shared', ['100.64.1.1'], '100.64.1.1'], ['private', ['fd00::1'], 'fd00'], ['link-local', ['fe80::1%eth0'], ''], ['multicast', ['224.0.0.1'], '224.0.0.1'], ['special-use', ['0.0.0.0'], '0.0.0.0'],
  ])('a name on the list with a %s address among its answers %j', async (_, addresses) => {
    const { port, refusals } = await guest({ allow: ['good.test'], addresses: { 'good.test': addresses } })
    for (const text of [get('good.test'), 'CONNECT good.test:443 HTTP/1.1\r\nHost: good.test:443\r\n\r\n']) expect(codeOf(await raw(port, text))).toBe('egress_address_refused')
    expect(refusals.map((refusal) => refusal.port)).toEqual([80, 443])
  })

  test('an address that was exempted for another host, and a metadata address whatever was exempted', async () => {
    const policy = await compilePolicy({ allow: ['a.test', 'b.test'], exemptions: [{ host: 'a.test', cidr: '0.0.0.0/0' }, { host: 'a.test', cidr: '::/0' }], npmRegistry: () => Promise.reject(new Error('unused')) })
    const { port } = await guest({ policy, addresses: { 'a.test': ['169.254.169.254'], 'b.test': ['10.0.0.1'] } })
    for (const host of ['a.test', 'b.test']) expect(codeOf(await raw(port, get(host)))).toBe('egress_address_refused')
    for (const address of ['fd00:ec2::254', '100.100.100.200', '168.63.129.16', '::ffff:a9fe:a9fe']) {
      const other = await guest({ policy, addresses: { 'a.test': [address] } })
      expect(codeOf(await raw(other.port, get('a.test')))).toBe('egress_address_refused')
    }
  })

  const host = 'good.test'
  test.each<[string, string, RegExp]>([
    ['both Content-Length and Transfer-Encoding', `POST http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, /egress_request_refused/],
    ['two Content-Lengths', `POST http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello`, /egress_request_refused/],
    ['an odd Transfer-Encoding', `POST http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`, /egress_request_refused/],
    ['a bare LF', `GET http://${host}/ HTTP/1.1\nHost: ${host}\n\n`, /egress_request_refused/],
    ['a space before the colon', `GET http://${host}/ HTTP/1.1\r\nHost : ${host}\r\n\r\n`, /egress_request_refused/],
    ['a folded header', `GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nX-A: b\r\n Host: evil.test\r\n\r\n`, /egress_request_refused|egress_unresolved/],
    ['two Host headers', `GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nHost: evil.test\r\n\r\n`, /egress_request_refused/],
    ['another Host', `GET http://${host}/ HTTP/1.1\r\nHost: evil.test\r\n\r\n`, /egress_host_mismatch/],
    ['the Host of Swarm', `GET http://${host}/ HTTP/1.1\r\nHost: model.swarm.internal\r\n\r\n`, /egress_host_mismatch/],
    ['no Host', `GET http://${host}/ HTTP/1.1\r\n\r\n`, /egress_host_mismatch/],
    ['another port in Host', `GET http://${host}/ HTTP/1.1\r\nHost: ${host}:8080\r\n\r\n`, /egress_host_mismatch/],
    ['origin form', `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`, /egress_request_refused/],
    ['https in absolute form', `GET https://${host}/ HTTP/1.1\r\nHost: ${host}\r\n\r\n`, /egress_request_refused/],
    ['ftp in absolute form', `GET ftp://${host}/ HTTP/1.1\r\nHost: ${host}\r\n\r\n`, /egress_request_refused/],
    ['three slashes', `GET http:///evil.test/ HTTP/1.1\r\nHost: ${host}\r\n\r\n`, /egress_host_invalid/],
    ['TRACE', `TRACE http://${host}/ HTTP/1.1\r\nHost: ${host}\r\n\r\n`, /egress_request_refused/],
    ['no HTTP at all', '\x16\x03\x01\x02\x00\x01', /egress_request_refused/],
    ['a CONNECT without a port', `CONNECT ${host} HTTP/1.1\r\nHost: ${host}\r\n\r\n`, /egress_request_refused|egress_host_invalid/],
    ['a CONNECT with another Host', `CONNECT ${host}:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n`, /egress_host_mismatch/],
    ['another host inside a tunnel of port 80', `CONNECT ${host}:80 HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: evil.test\r\n\r\n`, /egress_host_mismatch/],
    ['another absolute target inside a tunnel', `CONNECT ${host}:80 HTTP/1.1\r\n\r\nGET http://model.swarm.internal/ HTTP/1.1\r\nHost: model.swarm.internal\r\n\r\n`, /egress_host_mismatch/],
    ['a tunnel inside a tunnel', `CONNECT ${host}:80 HTTP/1.1\r\n\r\nCONNECT ${host}:443 HTTP/1.1\r\n\r\n`, /egress_request_refused/],
  ])('%s', async (_, text, code) => {
    const { port } = await guest({ allow: [host], lookup: () => Promise.reject(Object.assign(new Error('not known'), { code: 'ENOTFOUND' })) })
    expect(await raw(port, text)).toMatch(code)
  })

  test('more connections than the cap, until one ends', async () => {
    const registry = await recorder()
    const { port, proxy } = await guest({ registryPort: registry.port, limits: { connections: 1 } })
    const first = net.connect(port, '127.0.0.1')
    await new Promise((resolve) => first.once('connect', resolve))
    await expect.poll(() => proxy.stats().openConnections).toBe(1)
    expect(codeOf(await raw(port, get(`registry.test:${registry.port}`)))).toBe('egress_too_many_connections')
    first.destroy()
    await expect.poll(() => proxy.stats().openConnections).toBe(0)
    expect(await raw(port, get(`registry.test:${registry.port}`))).toContain('hello')
  })

  test('a connection that says nothing, after the idle time', async () => {
    const { port } = await guest({ limits: { idleMs: 50 } })
    const socket = net.connect(port, '127.0.0.1')
    socket.resume()
    await new Promise((resolve) => socket.once('close', resolve))
  })

  test('is reported once for each host, port and code', async () => {
    const { port, proxy, refusals } = await guest()
    for (let count = 0; count < 3; count++) await raw(port, get('evil.test'))
    await raw(port, get('other.test'))
    expect(refusals.map((refusal) => refusal.host)).toEqual(['evil.test', 'other.test'])
    expect(proxy.stats().refusals).toBe(4)
  })
})

describe('an upstream proxy', () => {
  test('gets plain requests in absolute form and tunnels by CONNECT, with its credentials; names it alone knows pass by the list', async () => {
    const heads: string[] = []
    const upstream = net.createServer((socket) => {
      socket.on('error', () => undefined)
      socket.once('data', (chunk: Buffer) => {
        heads.push(chunk.toString('latin1'))
        if (chunk.toString('latin1').startsWith('CONNECT')) socket.write('HTTP/1.1 200 OK\r\n\r\n')
        else socket.end('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nvia')
        socket.once('data', (inner: Buffer) => socket.end(inner))
      })
    })
    const upstreamPort = await listen(upstream)
    const unknown = () => Promise.reject(Object.assign(new Error('unknown'), { code: 'ENOTFOUND' }))
    const { port } = await guest({ allow: ['good.test'], lookup: unknown, upstreamProxy: { url: `http://user:pa%20ss@127.0.0.1:${upstreamPort}` } })
    expect(await raw(port, get('good.test'))).toContain('via')
    expect(await raw(port, 'CONNECT good.test:443 HTTP/1.1\r\n\r\n\x16\x03\x01hello')).toBe('HTTP/1.1 200 Connection Established\r\n\r\n\x16\x03\x01hello')
    const credentials = `Proxy-Authorization: Basic ${Buffer.from('user:pa ss').toString('base64')}`
    expect(heads[0]).toMatch(/^GET http:\/\/good\.test\/ HTTP\/1\.1\r\n/)
    expect(heads[1]).toMatch(/^CONNECT good\.test:443 HTTP\/1\.1\r\n/)
    for (const head of heads) expect(head).toContain(credentials)
  })

  test('does not get a name whose address is known here and forbidden', async () => {
    const { port } = await guest({ allow: ['good.test'], addresses: { 'good.test': ['10.0.0.1'] }, upstreamProxy: { url: 'http://127.0.0.1:9' } })
    expect(codeOf(await raw(port, get('good.test')))).toBe('egress_address_refused')
  })
})

describe('a policy', () => {
  const compile = (allow: string[], exemptions: { host: string; cidr: string }[] = []): Promise<unknown> => compilePolicy({ allow, exemptions, npmRegistry: () => Promise.resolve('https://registry.test/npm/') })
  test.each(['*', '*.com', '10.0.0.1', 'http://good.test', 'good.test:80', 'a..b', '*.*.test', 'ex*mple.test', '[::1]', '0x7f.1', ''])('refuses the entry %j', async (entry) => {
    await expect(compile([entry])).rejects.toMatchObject({ code: 'config_invalid', details: { field: 'egress.allow' } })
  })
  test.each([{ host: 'a.test', cidr: '10.0.0.1/8' }, { host: '10.0.0.1', cidr: '10.0.0.0/8' }, { host: '*.test.org', cidr: '10.0.0.0/8' }])('refuses the exemption %j', async (exemption) => {
    await expect(compile([], [exemption])).rejects.toMatchObject({ code: 'config_invalid', details: { field: 'egress.exemptions' } })
  })
  test('asks npm for its registry only when the preset is used', async () => {
    await expect(compile(['*.good.test', 'preset:npm'])).resolves.toMatchObject({ rules: [{ kind: 'suffix', name: 'good.test' }, { kind: 'exact', name: 'registry.test', ports: new Map([[443, 'tls']]) }] })
    await compilePolicy({ allow: ['good.test'], npmRegistry: () => Promise.reject(new Error('asked')) })
  })
})
