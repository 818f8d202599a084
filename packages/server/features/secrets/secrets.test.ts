import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Client } from '@swarm/contract/client.ts'
import { createAgent } from '@swarm/contract/endpoints/agents.ts'
import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository } from '@swarm/contract/endpoints/repositories.ts'
import { listSecrets, removeSecret, rotateSecretKeys, setSecret, showSecret } from '@swarm/contract/endpoints/secrets.ts'
import { createTicket, showTicket } from '@swarm/contract/endpoints/tickets.ts'
import { claim, fail, registerRunner, status, workSecrets } from '@swarm/contract/runner-protocol.ts'
import { sql } from 'kysely'
import { expect, test } from 'vitest'
import type { Database } from '../../db/database.ts'
import { eachDialect } from '../../db/testing.ts'
import { startTestServer, type TestServer } from '../../testing.ts'

const VALUE = 'planted-value-41f0c9aa'
const BEARER = { kind: 'header' as const, header: 'Authorization', format: 'Bearer {secret}' }
const secret = (name: string, more: { projectId?: string; hosts?: string[]; value?: string } = {}) => ({ body: { name, hosts: ['api.example.com'], injection: BEARER, value: VALUE, ...more } })
const freshKey = (): string => randomBytes(32).toString('base64')

/** A project with a ticket that a runner can claim. */
async function work(server: TestServer, slug: string, runner: string) {
  const { admin } = server
  const project = await admin.call(createProject, { body: { slug } })
  const repository = await admin.call(createRepository, { body: { projectId: project.id, slug: 'r', swarmYml: 'checks: { test: "true" }\n' } })
  await admin.call(createAgent, { body: { name: `writer-${slug}`, definition: { config: { template: 'shell', commands: ['true'] } } } })
  const ticket = await admin.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title: 'Write', agent: `writer-${slug}` } })
  const as = server.as((await admin.call(registerRunner, { body: { name: runner } })).token)
  return { projectId: project.id, ticketId: ticket.id, as, take: async () => take(as) }
}
async function take(runner: Client, claimKey = 'key-00001') {
  const { work: taken } = await runner.call(claim, { body: { waitMs: 0, kinds: ['attempt'], driver: 'process', isolates: false, capacity: 4, bootId: 'boot-0001', claimKey } })
  return taken?.kind === 'attempt' ? { secrets: taken.secrets, key: { kind: 'attempt' as const, id: taken.attemptId, fence: taken.fence } } : null
}

/** Everything that the database holds, as text. */
async function dump(db: Database): Promise<string> {
  const names = db.dialect === 'sqlite'
    ? (await sql<{ name: string }>`select name from sqlite_master where type = 'table'`.execute(db.read)).rows
    : (await sql<{ name: string }>`select tablename as name from pg_tables where schemaname = 'public'`.execute(db.read)).rows
  const tables = await Promise.all(names.map(async ({ name }) => (await sql`select * from ${sql.table(name)}`.execute(db.read)).rows))
  return JSON.stringify(tables)
}

eachDialect((dialect, make) => {
  test('a secret is set, listed, replaced and removed, and no answer, event, log line or table has its value in any form', async () => {
    await using place = await make()
    await using server = await startTestServer(place)
    const { admin, context: { db } } = server
    const { id: projectId } = await admin.call(createProject, { body: { slug: 'p' } })
    const first = await admin.call(setSecret, secret('registry', { projectId: 'p', hosts: ['B.example.com', 'a.example.com'] }))
    expect(first).toEqual({
      id: expect.stringMatching(/^SEC-/) as string, name: 'registry', projectId, organizationId: 'ORG-00000000', hosts: ['a.example.com', 'b.example.com'], injection: { ...BEARER, header: 'authorization' }, version: 1,
      createdAt: expect.any(Number) as number, createdBy: expect.stringMatching(/^admin /) as string, updatedAt: first.createdAt, updatedBy: first.createdBy, lastUsedAt: null,
    })
    const before = await db.read.selectFrom('secrets').selectAll().executeTakeFirstOrThrow()
    const second = await admin.call(setSecret, secret('registry', { projectId, hosts: ['c.example.com'] }))
    expect(second).toMatchObject({ id: first.id, version: 2, hosts: ['c.example.com'] })
    // The earlier version is nowhere any more.
    expect(await dump(db)).not.toContain(before.sealed)
    const shared = await admin.call(setSecret, secret('shared'))
    await admin.call(createProject, { body: { slug: 'q' } })
    const names = async (query: { projectId?: string }) => (await admin.call(listSecrets, { query })).items.map(({ name }) => name).sort()
    expect([await names({}), await names({ projectId: 'p' }), await names({ projectId: 'q' })]).toEqual([['registry', 'shared'], ['registry', 'shared'], ['shared']])
    const page = await admin.call(listSecrets, { query: { limit: 1 } })
    expect((await admin.call(listSecrets, { query: { limit: 1, cursor: page.nextCursor ?? '' } })).items[0]?.id).not.toBe(page.items[0]?.id)
    expect(await admin.call(showSecret, { params: { secretId: first.id } })).toEqual(second)
    const everything = [await dump(db), JSON.stringify(server.log), JSON.stringify([first, second, shared])].join('\n')
    for (const form of [VALUE, Buffer.from(VALUE).toString('base64').replace(/=+$/, ''), Buffer.from(VALUE).toString('hex')]) expect(everything).not.toContain(form)
    await admin.call(removeSecret, { params: { secretId: first.id } })
    await expect(admin.call(showSecret, { params: { secretId: first.id } })).rejects.toMatchObject({ status: 404 })
    await expect(admin.call(removeSecret, { params: { secretId: first.id } })).rejects.toMatchObject({ status: 404 })
    const events = await db.read.selectFrom('events').select(['type', 'project_id', 'data']).where('subject_id', '=', first.id).orderBy('seq').execute()
    expect(events.map(({ type, project_id }) => [type, project_id])).toEqual([['secret:set', projectId], ['secret:set', projectId], ['secret:removed', projectId]])
    expect(JSON.parse(events[1]!.data)).toMatchObject({ name: 'registry', version: 2, hosts: ['c.example.com'], header: 'authorization', by: first.createdBy })
  })

  test('strangers, runners and input that is wrong are refused with the field, and nothing changes', async () => {
    await using place = await make()
    await using server = await startTestServer(place)
    const { admin, context: { db } } = server
    const runner = server.as((await admin.call(registerRunner, { body: { name: 'local' } })).token)
    await expect(server.as().call(listSecrets, { query: {} })).rejects.toMatchObject({ status: 401 })
    await expect(runner.call(listSecrets, { query: {} })).rejects.toMatchObject({ status: 403 })
    await expect(admin.call(workSecrets, { body: { kind: 'attempt', id: 'ATT-1', fence: 1 } })).rejects.toMatchObject({ status: 403 })
    await expect(admin.call(setSecret, secret('x', { projectId: 'nowhere' }))).rejects.toMatchObject({ status: 404 })
    const wrong: [string, object][] = [
      ['name', { name: 'No Name' }], ['value', { value: 'short' }], ['value', { value: `two\nlines-of-it` }], ['value', { value: ' blank-before' }], ['value', { value: 'x'.repeat(8_193) }],
      ['hosts', { hosts: [] }], ['hosts', { hosts: ['*.example.com'] }], ['hosts', { hosts: ['10.0.0.1'] }], ['hosts', { hosts: ['example.com:8443'] }], ['hosts', { hosts: ['git.swarm.internal'] }],
      ['injection', { injection: { kind: 'header', header: 'Host' } }], ['injection', { injection: { kind: 'header', header: 'Transfer-Encoding' } }], ['injection', { injection: { kind: 'header', header: 'x-key', format: 'no place' } }],
      ['injection', { injection: { kind: 'header', header: 'x-key', format: 'a\r\nb: {secret}' } }], ['injection', { injection: { kind: 'basic', username: 'a:b' } }],
    ]
    for (const [field, body] of wrong) {
      const { error } = await server.as(server.adminToken).call(setSecret, { body: { ...secret('x').body, ...body } as never }).then(() => ({ error: null }), (each: unknown) => ({ error: each }))
      expect(error, JSON.stringify(body).slice(0, 100)).toMatchObject({ status: 400, code: 'invalid_input' })
      expect(JSON.stringify(error)).toContain(field)
    }
    expect(await db.read.selectFrom('secrets').selectAll().execute()).toEqual([])
    expect(JSON.stringify(server.log)).not.toContain('lines-of-it')
  })

  test('two secrets of one place cannot set the same header for one host, also not when they are set at the same time', async () => {
    await using place = await make()
    await using server = await startTestServer(place)
    const { admin } = server
    await admin.call(createProject, { body: { slug: 'p' } })
    await admin.call(setSecret, secret('one'))
    await expect(admin.call(setSecret, secret('two', { hosts: ['b.example.com', 'api.example.com'] }))).rejects.toMatchObject({ status: 409, code: 'secret_binding_taken', message: 'Secret one sets the header authorization for api.example.com already.' })
    await admin.call(setSecret, secret('two', { projectId: 'p' }))
    const raced = await Promise.allSettled(['c', 'd', 'e'].map((name) => admin.call(setSecret, secret(name, { hosts: ['raced.example.com'] }))))
    expect(raced.map(({ status: outcome }) => outcome).sort()).toEqual(['fulfilled', 'rejected', 'rejected'])
    const same = await Promise.all(Array.from({ length: 4 }, () => admin.call(setSecret, secret('again', { hosts: ['again.example.com'] }))))
    expect(same.map(({ version }) => version).sort()).toEqual([1, 2, 3, 4])
  })

  test('a runner gets the secrets of the project whose work it holds, and nobody else does', async () => {
    await using place = await make()
    await using server = await startTestServer(place)
    const { admin } = server
    const mine = await work(server, 'mine', 'local')
    await admin.call(createProject, { body: { slug: 'other' } })
    await admin.call(setSecret, secret('shared', { hosts: ['api.example.com', 'shared.example.com'], value: 'of-the-organization' }))
    const own = await admin.call(setSecret, secret('own', { projectId: 'mine' }))
    const foreign = await admin.call(setSecret, secret('foreign', { projectId: 'other' }))
    const taken = await mine.take()
    expect(taken?.secrets).toBe(true)
    const key = taken!.key
    const given = (await mine.as.call(workSecrets, { body: key })).secrets
    // The project's own goes before its organisation's where both set a header of a host.
    expect(given.map(({ hosts, value }) => [hosts, value])).toEqual([[['api.example.com'], VALUE], [['shared.example.com'], 'of-the-organization']])
    expect(given[0]?.injection).toEqual({ ...BEARER, header: 'authorization' })

    const stranger = server.as((await admin.call(registerRunner, { body: { name: 'stranger' } })).token)
    for (const [caller, body] of [[stranger, key], [mine.as, { ...key, fence: key.fence + 1 }], [mine.as, { ...key, id: 'ATT-00000000' }], [mine.as, { ...key, kind: 'check' }]] as const) {
      await expect(caller.call(workSecrets, { body })).rejects.toMatchObject({ status: 409, code: 'stale_fence' })
    }
    const report = (sequence: number) => mine.as.call(status, { body: { ...key, sequence, secretUses: [own.id, foreign.id] } })
    await report(0)
    const lastUsed = async (secretId: string) => (await admin.call(showSecret, { params: { secretId } })).lastUsedAt
    const first = await lastUsed(own.id)
    expect(first).toBeGreaterThan(0)
    expect(await lastUsed(foreign.id)).toBeNull()
    await report(1)
    // To the minute.
    expect(await lastUsed(own.id)).toBe(first)

    await server.context.db.write((trx) => trx.updateTable('attempts').set({ lease_expires_at: 1 }).where('id', '=', key.id).execute())
    await expect(mine.as.call(workSecrets, { body: key })).rejects.toMatchObject({ code: 'stale_fence' })
    await server.context.db.write((trx) => trx.updateTable('attempts').set({ lease_expires_at: Date.now() + 60_000 }).where('id', '=', key.id).execute())
    await mine.as.call(fail, { body: { ...key, failureClass: 'agent', reason: 'x', message: '', wipSha: null } })
    await expect(mine.as.call(workSecrets, { body: key })).rejects.toMatchObject({ code: 'stale_fence' })
    expect(JSON.stringify(server.log)).not.toContain(VALUE)
  })

  test('a new key takes over every secret without touching a value; cut off in the middle, the next call does the rest', async () => {
    await using place = await make()
    const folder = join(place.home, 'keys', 'secrets')
    await using server = await startTestServer(place)
    const { admin, context: { db } } = server
    const mine = await work(server, 'mine', 'local')
    const names = Array.from({ length: 5 }, (_, index) => `s${index}`)
    for (const name of names) await admin.call(setSecret, secret(name, { hosts: [`${name}.example.com`], value: `${VALUE}-${name}` }))
    expect(readdirSync(folder)).toEqual([expect.stringMatching(/^0001-[0-9a-f]{16}\.key$/)])
    expect(statSync(join(folder, readdirSync(folder)[0]!)).mode & 0o777).toBe(0o600)
    const kept = async () => db.read.selectFrom('secrets').select(['id', 'sealed', 'key_id', 'wrapped_key']).orderBy('id').execute()
    const before = await kept()

    expect(await admin.call(rotateSecretKeys, { body: {} })).toEqual({ keyId: before[0]!.key_id, rewrapped: 0, unneededKeyIds: [] })
    const rotated = await admin.call(rotateSecretKeys, { body: { newKey: true } })
    expect(rotated).toEqual({ keyId: expect.not.stringMatching(before[0]!.key_id) as string, rewrapped: 5, unneededKeyIds: [before[0]!.key_id] })
    const after = await kept()
    expect(after.map(({ sealed }) => sealed)).toEqual(before.map(({ sealed }) => sealed))
    expect(new Set(after.map(({ key_id }) => key_id))).toEqual(new Set([rotated.keyId]))
    expect(after.map(({ wrapped_key }) => wrapped_key)).not.toEqual(before.map(({ wrapped_key }) => wrapped_key))

    // As a kill leaves it: two are under the old key still. No further key is made then.
    for (const row of before.slice(0, 2)) await db.write((trx) => trx.updateTable('secrets').set({ wrapped_key: row.wrapped_key, key_id: row.key_id }).where('id', '=', row.id).execute())
    expect(await admin.call(rotateSecretKeys, { body: { newKey: true } })).toMatchObject({ keyId: rotated.keyId, rewrapped: 2 })
    expect(readdirSync(folder)).toHaveLength(2)
    rmSync(join(folder, readdirSync(folder).sort()[0]!))
    const taken = await mine.take()
    expect((await mine.as.call(workSecrets, { body: taken!.key })).secrets.map(({ value }) => value).sort()).toEqual(names.map((name) => `${VALUE}-${name}`))
  })

  test('keys that the settings give are used instead of files; a wrong one is refused as such, fails the work with that reason, and overwrites nothing', async () => {
    await using place = await make()
    const [old, next] = [freshKey(), freshKey()]
    const withKeys = (keys: string) => startTestServer(place, { settings: { 'secrets.keys': keys } })
    let ticketId = ''
    {
      await using server = await withKeys(old)
      ticketId = (await work(server, 'mine', 'local')).ticketId
      await server.admin.call(setSecret, secret('one'))
      await expect(server.admin.call(rotateSecretKeys, { body: { newKey: true } })).rejects.toMatchObject({ status: 409, code: 'secret_key_elsewhere' })
    }
    {
      await using server = await withKeys(next)
      const { admin, context: { db } } = server
      const before = await db.read.selectFrom('secrets').selectAll().execute()
      expect(JSON.stringify(server.log)).toContain('secret_key_unknown')
      for (const call of [() => admin.call(setSecret, secret('one')), () => admin.call(setSecret, secret('two', { hosts: ['two.example.com'] })), () => admin.call(rotateSecretKeys, { body: {} })]) {
        await expect(call()).rejects.toMatchObject({ code: 'secret_key_unknown', message: expect.stringContaining(before[0]!.key_id) as string })
      }
      expect(await db.read.selectFrom('secrets').selectAll().execute()).toEqual(before)
      const runner = server.as((await admin.call(registerRunner, { body: { name: 'local' } })).token)
      expect(await take(runner)).toBeNull()
      expect((await admin.call(showTicket, { params: { ticketId } })).history[0]).toMatchObject({ failureClass: 'infrastructure', failureReason: expect.stringContaining('secret_key_unknown') as string })
    }
    await using server = await withKeys(`${next}\n${old}`)
    expect(await server.admin.call(rotateSecretKeys, { body: {} })).toMatchObject({ rewrapped: 1 })
    await server.admin.call(setSecret, secret('one'))
  })

  if (dialect === 'sqlite') test('a key file that is gone, or is another, is never replaced by a new one while secrets are under it; one that was put back is found without a restart', async () => {
    await using place = await make()
    const folder = join(place.home, 'keys', 'secrets')
    let [name, text] = ['', '']
    {
      await using server = await startTestServer(place)
      await server.admin.call(setSecret, secret('one'))
      name = readdirSync(folder)[0]!
      text = readFileSync(join(folder, name), 'utf8')
    }
    rmSync(join(folder, name))
    await using server = await startTestServer(place)
    await expect(server.admin.call(setSecret, secret('one'))).rejects.toMatchObject({ code: 'secret_key_unknown' })
    expect(readdirSync(folder)).toEqual([])
    writeFileSync(join(folder, name), `${freshKey()}\n`)
    await expect(server.admin.call(setSecret, secret('one'))).rejects.toMatchObject({ code: 'secret_key_invalid', message: expect.stringContaining('another key than its name says') as string })
    writeFileSync(join(folder, name), text)
    await server.admin.call(setSecret, secret('one'))
  })

  if (dialect === 'sqlite') test('a program may print the keys; one that fails is told without what it printed', async () => {
    await using place = await make()
    const key = freshKey()
    {
      await using server = await startTestServer(place, { settings: { 'secrets.keyCommand': ['echo', key] } })
      await server.admin.call(setSecret, secret('one'))
    }
    await using server = await startTestServer(place, { settings: { 'secrets.keyCommand': ['sh', '-c', `echo ${key}; echo ${key} >&2; exit 3`] } })
    await expect(server.admin.call(setSecret, secret('one'))).rejects.toMatchObject({ code: 'secret_key_invalid', message: 'The key of the secret store cannot be taken from the program sh (secrets.keyCommand): it ended with 3.' })
    expect(JSON.stringify(server.log)).not.toContain(key)
  })

  if (dialect === 'sqlite') test('a row that was altered is not opened, and said to be so', async () => {
    await using place = await make()
    await using server = await startTestServer(place)
    const mine = await work(server, 'mine', 'local')
    await server.admin.call(setSecret, secret('one'))
    await server.context.db.write((trx) => trx.updateTable('secrets').set({ version: 7 }).execute())
    const taken = await mine.take()
    await expect(mine.as.call(workSecrets, { body: taken!.key })).rejects.toMatchObject({ status: 500, code: 'secret_damaged' })
  })
})
