import { checkSpec } from '@swarm/contract/endpoints/design.ts'
import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { importRepository } from '@swarm/contract/endpoints/repositories.ts'
import { showAbout, showConfig } from '@swarm/contract/endpoints/system.ts'
import { claim, registerRunner } from '@swarm/contract/runner-protocol.ts'
import { expect, test } from 'vitest'
import { sqlitePlace } from '../../db/testing.ts'
import { startTestServer } from '../../testing.ts'
import { person } from '../../testing-people.ts'

test('every setting is shown to super administrators with where it came from and no secret; what is installed to everybody', async () => {
  await using place = await sqlitePlace()
  await using server = await startTestServer(place, { settings: { 'model.apiKey': 'sk-not-to-be-seen', upstreamProxy: 'http://me:hunter2@proxy.example.org:3128', concurrency: 7 } })
  const { admin } = server
  const { items } = await admin.call(showConfig)
  const of = (name: string) => items.find(({ setting }) => setting === name)
  expect(of('concurrency')).toMatchObject({ value: 7, source: 'argument', environment: ['SWARM_CONCURRENCY'] })
  expect(of('lease.ttlMs')).toMatchObject({ value: 30_000, source: 'default' })
  expect(of('model.apiKey')?.value).toBe('[secret]')
  expect(of('upstreamProxy')?.value).toBe('http://hidden@proxy.example.org:3128/')
  expect(JSON.stringify(items)).not.toMatch(/not-to-be-seen|hunter2/)
  const member = await person(server, 'USR-00000001', 'admin')
  await expect(member.call(showConfig)).rejects.toMatchObject({ status: 403 })
  await expect(server.as().call(showAbout)).rejects.toMatchObject({ status: 401 })

  const { token } = await admin.call(registerRunner, { body: { name: 'local' } })
  await server.as(token).call(claim, { body: { waitMs: 0, kinds: ['check'], driver: 'process', isolates: false, capacity: 3, bootId: 'boot-0001', claimKey: 'key-00001' } })
  expect(await member.call(showAbout)).toMatchObject({ database: { dialect: 'sqlite', migration: '0018-views' }, model: { provider: 'anthropic' }, drivers: [{ driver: 'process', isolates: false, runners: 1, online: 1, capacity: 3 }] })
})

test('a spec is read before anything starts: what it requires, or what is wrong and in which line, as JSON and as the file itself', async () => {
  await using place = await sqlitePlace()
  await using server = await startTestServer(place)
  const spec = '# Greeter\n\n## Requirements\n- R1 It greets\n- R2 It says goodbye\n'
  const good = await server.admin.call(checkSpec, { body: { spec } })
  expect(good).toMatchObject({ title: 'Greeter', problems: [], requirements: [{ id: 'R1', text: 'It greets', line: 4, section: 'Requirements', explicit: true }, { id: 'R2', line: 5 }] })
  const send = (body: string, type: string, path: string = checkSpec.path) => fetch(`${server.url}${path}`, { method: 'POST', headers: { authorization: `Bearer ${server.adminToken}`, 'content-type': type }, body })
  expect(await (await send(spec, 'text/markdown; charset=utf-8')).json()).toEqual(good)
  expect(await server.admin.call(checkSpec, { body: { spec: `${spec}- R1 Again\n` } })).toMatchObject({ title: null, requirements: [], problems: [{ code: 'spec_duplicate_requirement', line: 6 }] })
  expect((await server.admin.call(checkSpec, { body: { spec: '' } })).problems).toMatchObject([{ code: 'spec_empty', line: null }])
  // No other route takes such a body.
  expect((await send(spec, 'text/markdown', '/api/hitl/sessions')).status).toBe(415)
  await expect(server.as().call(checkSpec, { body: { spec } })).rejects.toMatchObject({ status: 401 })
})

test('a folder of the server\'s machine is imported by super administrators alone, which is written down', async () => {
  await using place = await sqlitePlace()
  await using server = await startTestServer(place)
  const project = await server.admin.call(createProject, { body: { slug: 'p' } })
  const input = { body: { projectId: project.id, slug: 'r', source: '/nowhere/at-all' } }
  await expect((await person(server, 'USR-00000001', 'admin')).call(importRepository, input)).rejects.toMatchObject({ status: 403, code: 'forbidden' })
  await expect(server.admin.call(importRepository, input)).rejects.toMatchObject({ code: 'origin_missing' })
  await expect((await person(server, 'USR-00000002', 'admin')).call(importRepository, { body: { ...input.body, source: 'https://10.1.1.1/x.git' } })).rejects.toMatchObject({ code: 'origin_refused' })
  const entries = await server.context.db.read.selectFrom('audit_entries').select(['principal_id', 'outcome']).where('action', '=', 'repository:import-path').orderBy('at').execute()
  expect(entries).toEqual([{ principal_id: 'USR-00000001', outcome: 'deny' }, { principal_id: 'admin', outcome: 'allow' }])
})
