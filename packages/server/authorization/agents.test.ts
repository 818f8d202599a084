import { randomUUID } from 'node:crypto'
import { setPolicy } from '@swarm/contract/endpoints/policies.ts'
import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository } from '@swarm/contract/endpoints/repositories.ts'
import { setSecret } from '@swarm/contract/endpoints/secrets.ts'
import { createTicket } from '@swarm/contract/endpoints/tickets.ts'
import { claim, registerRunner, workSecrets } from '@swarm/contract/runner-protocol.ts'
import { expect, test } from 'vitest'
import { sqlitePlace } from '../db/testing.ts'
import { startTestServer } from '../testing.ts'

test('of the hosts and secrets of its project an agent gets those that policies let it have', async () => {
  await using place = await sqlitePlace()
  await using server = await startTestServer(place)
  const { admin } = server
  const project = await admin.call(createProject, { body: { slug: 'shop', settings: { egressAllow: ['registry.example.org', 'api.example.org'] } } })
  const repository = await admin.call(createRepository, { body: { projectId: project.id, slug: 'shop' } })
  for (const name of ['registry', 'api']) {
    await admin.call(setSecret, { body: { projectId: project.id, name, hosts: [`${name}.example.org`], injection: { kind: 'header', header: 'authorization', format: 'Bearer {secret}' }, value: 'not-a-real-token' } })
  }
  const policy = (policyId: string, cedar: string) => admin.call(setPolicy, { params: { organizationId: 'default', policyId }, body: { version: 0, cedar } })
  await policy('developers-no-api', 'forbid (principal is Agent, action == Action::"egress:connect", resource) when { principal.name == "developer" && resource.name == "api.example.org" };')
  await policy('no-api-secret', 'forbid (principal is Agent, action == Action::"secret:use", resource) when { resource.name == "api" };')
  const runner = server.as((await admin.call(registerRunner, { body: { name: 'local' } })).token)
  await admin.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title: 'One', agent: 'developer' } })
  const { work } = await runner.call(claim, { body: { waitMs: 10_000, kinds: ['attempt'], driver: 'process', isolates: true, capacity: 1, bootId: randomUUID(), claimKey: randomUUID() } })
  expect(work?.egressAllow).toEqual(['registry.example.org'])
  if (work?.kind !== 'attempt') throw new Error('no attempt was given')
  const { secrets } = await runner.call(workSecrets, { body: { kind: 'attempt', id: work.attemptId, fence: work.fence } })
  expect(secrets.map(({ hosts }) => hosts)).toEqual([['registry.example.org']])
})
