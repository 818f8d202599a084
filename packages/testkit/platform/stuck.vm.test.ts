import { createAgent } from '@swarm/contract/endpoints/agents.ts'
import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository, showRepository } from '@swarm/contract/endpoints/repositories.ts'
import { listVms } from '@swarm/contract/endpoints/runners.ts'
import { createTicket, showTicket } from '@swarm/contract/endpoints/tickets.ts'
import { git } from '@swarm/git/run.ts'
import { expect, test } from 'vitest'
import { startTestPlatform } from './platform.ts'
import { until } from './until.ts'

/** Works in two parts; the first microVM freezes when the first part was saved, which its agent sees at the server. */
const FREEZES_ONCE = `[ -f first.txt ] && { echo two > second.txt; exit 0; }
echo one > first.txt
until git ls-remote origin 'refs/swarm/attempts/*/work' | grep -q work; do sleep 1; done
kill -STOP $(pgrep -f ^/usr/local/bin/node./opt/swarm/supervisor)
sleep 1000`

test('work whose microVM freezes goes on in another one from what was saved, and the first is recorded as stuck', async () => {
  await using platform = await startTestPlatform({ settings: { 'lease.checkpointMs': 1_000 } })
  const { admin, context } = platform.server
  const project = await admin.call(createProject, { body: { slug: 'p' } })
  const repository = await admin.call(createRepository, { body: { projectId: project.id, slug: 'r', swarmYml: 'checks: { test: "cat first.txt second.txt" }\n' } })
  await admin.call(createAgent, { body: { name: 'freezes', definition: { config: { template: 'shell', commands: [FREEZES_ONCE] } } } })
  const ticket = await admin.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title: 'Freeze', agent: 'freezes' } })
  const shown = () => admin.call(showTicket, { params: { ticketId: ticket.id } })
  await until(context, async () => (await shown()).state === 'in_review')

  expect((await shown()).history).toMatchObject([{ state: 'failed', failureClass: 'infrastructure', failureReason: 'vm_stuck' }, { failureClass: null }])
  expect((await admin.call(listVms)).items.map((vm) => vm.endReason)).toContain('stuck')
  const { path } = await admin.call(showRepository, { params: { repositoryId: repository.id } })
  expect((await git(path, ['show', `refs/heads/swarm/${ticket.id}:first.txt`])).stdout).toBe('one\n')
}, 480_000)
