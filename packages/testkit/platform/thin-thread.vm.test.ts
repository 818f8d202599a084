import { decideApproval, listApprovals } from '@swarm/contract/endpoints/approvals.ts'
import { createAgent } from '@swarm/contract/endpoints/agents.ts'
import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository, showRepository } from '@swarm/contract/endpoints/repositories.ts'
import { listVms } from '@swarm/contract/endpoints/runners.ts'
import { createTicket, showTicket } from '@swarm/contract/endpoints/tickets.ts'
import { git } from '@swarm/git/run.ts'
import { expect, test } from 'vitest'
import { startTestPlatform } from './platform.ts'
import { until } from './until.ts'

test('a shell ticket runs in a microVM, its commit is checked in a clean one, approved, and merged', async () => {
  await using platform = await startTestPlatform()
  const { admin, context } = platform.server
  const project = await admin.call(createProject, { body: { slug: 'thin' } })
  const repository = await admin.call(createRepository, { body: { projectId: project.id, slug: 'thread', swarmYml: 'checks: { test: "test -f hello.txt && node --version" }\n' } })
  await admin.call(createAgent, { body: { name: 'greeter', definition: { config: { template: 'shell', commands: ['echo hello > hello.txt'] } } } })
  const ticket = await admin.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title: 'Say hello', agent: 'greeter' } })

  await until(context, async () => (await admin.call(listApprovals, { query: { status: 'pending' } })).items.length === 1)
  const [approval] = (await admin.call(listApprovals, { query: { status: 'pending' } })).items
  expect(approval).toMatchObject({ kind: 'merge' })
  await admin.call(decideApproval, { params: { approvalId: approval!.id }, body: { decision: 'approved', payloadHash: approval!.payloadHash } })
  await until(context, async () => (await admin.call(showTicket, { params: { ticketId: ticket.id } })).state === 'done')

  const shown = await admin.call(showTicket, { params: { ticketId: ticket.id } })
  expect(shown.history.map((attempt) => attempt.steps.filter(({ step }) => step !== 'prepare').map((step) => `${step.step} ${step.state}`))).toEqual([['provision done', 'workspace done', 'agent done', 'publish done']])
  const { path } = await admin.call(showRepository, { params: { repositoryId: repository.id } })
  expect((await git(path, ['show', 'main:hello.txt'])).stdout).toBe('hello\n')
  expect((await git(path, ['log', '-1', '--format=%(trailers:key=Swarm-Ticket,valueonly)', 'main'])).stdout.trim()).toBe(ticket.id)
  await until(context, async () => (await admin.call(listVms)).items.every((vm) => vm.state === 'ended'))
  const vms = (await admin.call(listVms)).items
  expect(vms.map((vm) => vm.workKind).toSorted()).toEqual(['attempt', 'check'])
})
