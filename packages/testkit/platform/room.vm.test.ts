import { createAgent } from '@swarm/contract/endpoints/agents.ts'
import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository } from '@swarm/contract/endpoints/repositories.ts'
import { listRunners } from '@swarm/contract/endpoints/runners.ts'
import { createTicket, showTicket } from '@swarm/contract/endpoints/tickets.ts'
import { sqlitePlace } from '@swarm/server/db/testing.ts'
import { startTestServer } from '@swarm/server/testing.ts'
import { expect, test } from 'vitest'
import { runnerHome, startRunnerProcess } from './runner-process.ts'
import { until } from './until.ts'

test('a host without room for a microVM takes no work and says why; another host takes it', async () => {
  await using place = await sqlitePlace()
  await using server = await startTestServer(place)
  const { admin, context } = server
  const project = await admin.call(createProject, { body: { slug: 'p' } })
  const repository = await admin.call(createRepository, { body: { projectId: project.id, slug: 'r', swarmYml: 'checks: { test: "true" }\n' } })
  await admin.call(createAgent, { body: { name: 'writer', definition: { config: { template: 'shell', commands: ['echo hello > hello.txt'] } } } })
  const ticket = await admin.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title: 'Write', agent: 'writer' } })
  const shown = () => admin.call(showTicket, { params: { ticketId: ticket.id } })

  using full = await runnerHome(admin, 'full')
  // It keeps more memory free than any machine has.
  await using _full = await startRunnerProcess(full, server.url, { SWARM_VM_DRIVER: 'qemu', SWARM_VM_RESERVE_MB: '999999999' })
  // A beat is no event.
  await expect.poll(async () => (await admin.call(listRunners)).items.filter((runner) => runner.noRoom !== null), { timeout: 60_000 }).toMatchObject([{ name: 'full', online: true, noRoom: expect.stringMatching(/^0\.0 GB of memory free, 1\.3 GB needed$/) }])
  expect(await shown()).toMatchObject({ state: 'ready', attempts: 0, waitsFor: 'room for a microVM: host full has room for no further one (0.0 GB of memory free, 1.3 GB needed)' })

  using other = await runnerHome(admin, 'other')
  await using _other = await startRunnerProcess(other, server.url)
  await until(context, async () => (await shown()).state === 'in_review')
})
