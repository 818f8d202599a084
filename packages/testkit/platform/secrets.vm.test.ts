import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, openSync, readdirSync, readSync } from 'node:fs'
import http, { type IncomingHttpHeaders } from 'node:http'
import https from 'node:https'
import net, { type AddressInfo, type Server } from 'node:net'
import { join } from 'node:path'
import { decideApproval, listApprovals } from '@swarm/contract/endpoints/approvals.ts'
import { createAgent } from '@swarm/contract/endpoints/agents.ts'
import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository, showRepository } from '@swarm/contract/endpoints/repositories.ts'
import { listSecrets, setSecret } from '@swarm/contract/endpoints/secrets.ts'
import { createTicket, showTicket } from '@swarm/contract/endpoints/tickets.ts'
import { shownForms } from '@swarm/core/secrets/injection.ts'
import { git } from '@swarm/git/run.ts'
import { authorityCertificate, serverCertificate } from '@swarm/runner/egress/certificate.ts'
import { journalFolder, openVmJournal } from '@swarm/runner/vms/journal.ts'
import { expect, test } from 'vitest'
import { findInMemory } from '../isolation/memory.ts'
import { encodings } from '../isolation/search.ts'
import { startTestPlatform } from './platform.ts'
import { until } from './until.ts'

const VALUE = 'planted/secret+value=of 91c7e2d4'
const HOST = 'api.secrets.test'
const INJECTION = { kind: 'header' as const, header: 'x-api-key', format: 'Key {secret}' }
const FORMS = [...new Set([...encodings(VALUE), ...shownForms(INJECTION, VALUE)])]

/** Closes it with whatever is open when the scope ends. */
async function listening(server: Server): Promise<AsyncDisposable & { port: number }> {
  const sockets = new Set<net.Socket>()
  server.on('connection', (socket: net.Socket) => { sockets.add(socket.once('close', () => sockets.delete(socket)).on('error', () => { socket.destroy() })) })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

/** Files under a folder that hold one of the forms. */
function filesWith(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
    .filter(holdsOne)
}

const CHUNK_BYTES = 16 * 1024 ** 2
const OVERLAP_BYTES = 1024
const EMPTY = Buffer.alloc(CHUNK_BYTES)

/** A disk is larger than one buffer may be, and most of it holes. */
function holdsOne(path: string): boolean {
  const file = openSync(path, 'r')
  try {
    const bytes = Buffer.alloc(CHUNK_BYTES)
    for (let at = 0, length = 0; (length = readSync(file, bytes, 0, CHUNK_BYTES, at)) > 0; at += CHUNK_BYTES - OVERLAP_BYTES) {
      const part = bytes.subarray(0, length)
      if (!part.equals(EMPTY.subarray(0, length)) && FORMS.some((form) => part.includes(form))) return true
    }
    return false
  } finally {
    closeSync(file)
  }
}

test('a secret goes out with the requests of a microVM, and is nowhere else: not in its memory or disk, git, database, logs, blobs or evidence', async () => {
  const world = { commonName: 'World', key: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey }
  const times = { notBeforeMs: Date.now() - 3_600_000, notAfterMs: Date.now() + 3_600_000 }
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const seen: { url: string; headers: IncomingHttpHeaders }[] = []
  const waiting = Promise.withResolvers<void>()
  const searched = Promise.withResolvers<void>()
  await using api = await listening(https.createServer({ key: privateKey.export({ type: 'pkcs8', format: 'pem' }), cert: serverCertificate(world, HOST, publicKey, times) }, (request, response) => {
    seen.push({ url: request.url ?? '', headers: request.headers })
    const answer = (): void => void response.end(`you-sent: ${JSON.stringify(request.headers['x-api-key'])} ${Buffer.from(VALUE).toString('base64')}\n`)
    if (request.url !== '/wait') return answer()
    waiting.resolve()
    void searched.promise.then(answer)
  }))
  // The world's one way in: what is asked for by name is this host.
  await using way = await listening(http.createServer().on('connect', (request, socket) => {
    const on = net.connect(request.url === `${HOST}:443` ? api.port : 9, '127.0.0.1', () => { socket.write('HTTP/1.1 200 OK\r\n\r\n') })
    on.on('error', () => { socket.destroy() }).once('close', () => { socket.destroy() })
    socket.on('error', () => { on.destroy() }).pipe(on).pipe(socket)
  }))
  await using platform = await startTestPlatform({ ca: authorityCertificate(world, times), settings: { upstreamProxy: `http://127.0.0.1:${way.port}` } })
  const { admin, context, log } = platform.server
  const project = await admin.call(createProject, { body: { slug: 'p', settings: { egressAllow: [HOST] } } })
  const repository = await admin.call(createRepository, { body: { projectId: project.id, slug: 'r', swarmYml: `checks: { test: "curl -sSf https://${HOST}/check" }\n` } })
  await admin.call(setSecret, { body: { name: 'api', projectId: 'p', hosts: [HOST], injection: INJECTION, value: VALUE } })
  await admin.call(createAgent, { body: { name: 'caller', definition: { config: { template: 'shell', commands: [
    `curl -sSf -H 'X-Api-Key: of the guest' https://${HOST}/curl > answer.txt; git ls-remote https://${HOST}/git; env > environment.txt; curl -sS http://${HOST}/ >> answer.txt
     node -e "fetch('https://${HOST}/node').then((r) => r.text()).then((t) => require('fs').appendFileSync('answer.txt', t))" && curl -sSf https://${HOST}/wait > /dev/null`,
  ] } } } })
  const ticket = await admin.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title: 'Call', agent: 'caller' } })

  // While the agent waits for an answer: its microVM, whole.
  await waiting.promise
  const vms = openVmJournal(journalFolder(platform.state)).records().filter(({ vmId, process }) => vmId !== null && process !== null)
  expect(vms).toHaveLength(1)
  // What the search would find is there: the answers that the guest got.
  const inMemory = findInMemory(vms[0]!.process!.pid, [...FORMS, 'you-sent: '])
  expect(inMemory).toContain('you-sent: ')
  expect(inMemory.filter((text) => FORMS.includes(text))).toEqual([])
  expect(filesWith(join(platform.state, 'disks', vms[0]!.slot))).toEqual([])
  searched.resolve()

  await until(context, async () => (await admin.call(listApprovals, { query: { status: 'pending' } })).items.length === 1)
  const [approval] = (await admin.call(listApprovals, { query: { status: 'pending' } })).items
  await admin.call(decideApproval, { params: { approvalId: approval!.id }, body: { decision: 'approved', payloadHash: approval!.payloadHash } })
  await until(context, async () => (await context.db.read.selectFrom('events').select('seq').where('type', '=', 'evidence:sealed').execute()).length === 1)

  expect(seen.map(({ headers }) => headers['x-api-key'])).toEqual(seen.map(() => `Key ${VALUE}`))
  expect(seen.map(({ url }) => url)).toEqual(['/curl', '/git/info/refs?service=git-upload-pack', '/node', '/wait', '/check'])
  const { path } = await admin.call(showRepository, { params: { repositoryId: repository.id } })
  const answer = (await git(path, ['show', 'main:answer.txt'])).stdout
  expect(answer.match(/^you-sent: "Key \*{32}" \*+$/gm)).toHaveLength(2)
  expect(answer).toContain('egress_secret_needs_tls')
  expect((await admin.call(listSecrets, { query: {} })).items[0]?.lastUsedAt).toBeGreaterThan(0)

  // Objects of git are compressed: each is read as it is.
  const contents = (await git(path, ['cat-file', '--batch-all-objects', '--batch'])).stdout
  expect(contents).toContain('you-sent: ')
  expect(FORMS.filter((form) => contents.includes(form))).toEqual([])
  // Database with its log of events and its write-ahead log, blobs (transcripts, evidence), keys, logs.
  expect(filesWith(platform.home)).toEqual([])
  expect(FORMS.filter((form) => JSON.stringify(log).includes(form))).toEqual([])
  expect((await admin.call(showTicket, { params: { ticketId: ticket.id } })).state).toBe('done')
})
