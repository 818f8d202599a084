import { createAgent } from '@swarm/contract/endpoints/agents.ts'
import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository, showRepository } from '@swarm/contract/endpoints/repositories.ts'
import { createTicket, showTicket } from '@swarm/contract/endpoints/tickets.ts'
import { listRunners } from '@swarm/contract/endpoints/runners.ts'
import type { Client } from '@swarm/contract/client.ts'
import { git } from '@swarm/git/run.ts'
import { commitFiles } from '@swarm/server/integrations/builtin-code-host/bare.ts'
import { eachDialect } from '@swarm/server/db/testing.ts'
import { expect, test } from 'vitest'
import { startTestPlatform } from './platform.ts'
import { until } from './until.ts'

const WAIT_MS = 60_000

async function repositoryOf(admin: Client, projectId: string, slug: string, swarmYml: string) {
  const repository = await admin.call(createRepository, { body: { projectId, slug, swarmYml } })
  return { id: repository.id, path: (await admin.call(showRepository, { params: { repositoryId: repository.id } })).path }
}

/** Somebody pushes this swarm.yml to main past Swarm. */
async function pushSwarmYml(path: string, text: string): Promise<void> {
  await git(path, ['update-ref', '-d', 'refs/heads/main'])
  await commitFiles(path, 'main', { 'swarm.yml': text }, 'by hand\n')
}

async function agent(admin: Client, name: string, commands: string[]): Promise<void> {
  await admin.call(createAgent, { body: { name, definition: { config: { template: 'shell', commands } } } })
}

eachDialect((_dialect, make) => {
  test('a repository whose swarm.yml cannot be read holds its own ticket with the reason, and the runner goes on with the others', async () => {
    await using place = await make()
    await using platform = await startTestPlatform({ driver: 'process', place, slots: 1 })
    const { admin, context } = platform.server
    const project = await admin.call(createProject, { body: { slug: 'hostile' } })
    const bad = await repositoryOf(admin, project.id, 'bad', 'checks: { test: "true" }\n')
    const good = await repositoryOf(admin, project.id, 'good', 'checks: { test: "true" }\n')
    await pushSwarmYml(bad.path, 'checks: [this, is, no, map]\n')
    await agent(admin, 'writer', ['echo hello > hello.txt'])
    const poisoned = await admin.call(createTicket, { body: { projectId: project.id, repositoryId: bad.id, title: 'Poisoned', agent: 'writer', priority: 10 } })
    const healthy = await admin.call(createTicket, { body: { projectId: project.id, repositoryId: good.id, title: 'Healthy', agent: 'writer' } })
    const show = (ticketId: string) => admin.call(showTicket, { params: { ticketId } })
    await until(context, async () => (await show(healthy.id)).state === 'in_review', WAIT_MS)
    await until(context, async () => (await show(poisoned.id)).state === 'on_hold', WAIT_MS)
    expect((await show(poisoned.id)).holdReason).toContain('swarm.yml')
    expect((await admin.call(listRunners)).items).toMatchObject([{ online: true }])
  }, 120_000)

  test('a change that breaks the setup is red with the output of the setup, not a fault of the machine', async () => {
    await using place = await make()
    await using platform = await startTestPlatform({ driver: 'process', place, slots: 1 })
    const { admin, context } = platform.server
    const project = await admin.call(createProject, { body: { slug: 'hostile' } })
    const repository = await repositoryOf(admin, project.id, 'app', 'checks: { setup: "test ! -f broken.txt || { echo the setup is broken; exit 7; }", test: "true" }\n')
    await agent(admin, 'breaker', ['echo x > broken.txt'])
    const ticket = await admin.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title: 'Break it', agent: 'breaker' } })
    const show = () => admin.call(showTicket, { params: { ticketId: ticket.id } })
    await until(context, async () => (await show()).history[0]?.state === 'failed', WAIT_MS)
    expect((await show()).history[0]).toMatchObject({ failureClass: 'checks', evidence: { checkOutput: expect.stringContaining('the setup is broken') } })
  }, 120_000)
})
