import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from '@swarm/cli/command.ts'
import { ticketEdit } from '@swarm/cli/commands/ticket/edit.ts'
import { ticketList } from '@swarm/cli/commands/ticket/list.ts'
import { runnerDrain } from '@swarm/cli/commands/runner/drain.ts'
import { runnerList } from '@swarm/cli/commands/runner/list.ts'
import { runnerRemove } from '@swarm/cli/commands/runner/remove.ts'
import { runnerShow } from '@swarm/cli/commands/runner/show.ts'
import { runnerUndrain } from '@swarm/cli/commands/runner/undrain.ts'
import { usage } from '@swarm/cli/commands/usage.ts'
import { viewList } from '@swarm/cli/commands/view/list.ts'
import { viewRemove } from '@swarm/cli/commands/view/remove.ts'
import { viewSave } from '@swarm/cli/commands/view/save.ts'
import { vmList } from '@swarm/cli/commands/vm/list.ts'
import { writeRunFile } from '@swarm/cli/platform/run-file.ts'
import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository } from '@swarm/contract/endpoints/repositories.ts'
import { createTicket } from '@swarm/contract/endpoints/tickets.ts'
import { claim, registerRunner } from '@swarm/contract/runner-protocol.ts'
import { sqlitePlace } from '@swarm/server/db/testing.ts'
import { startTestServer } from '@swarm/server/testing.ts'
import { expect, test } from 'vitest'

test('hosts, usage, views and tickets on the command line, against a server', async () => {
  await using place = await sqlitePlace()
  await using server = await startTestServer(place)
  writeRunFile(place.home, { url: server.url, model: 'none', startedAt: 1, processes: [] })
  const run = async (command: Command, input: Record<string, unknown> = {}) => command.run(command.input.parse(input), { settings: () => ({ config: { home: place.home, client: {} } }), signal: new AbortController().signal } as never)
  const { admin } = server
  const project = await admin.call(createProject, { body: { slug: 'shop' } })
  const repository = await admin.call(createRepository, { body: { projectId: project.id, slug: 'shop' } })
  const { id: ticketId } = await admin.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title: 'Write', agent: 'developer' } })

  expect((await run(ticketEdit, { id: ticketId, priority: '50', title: 'Write it' })).text).toBe(`${ticketId}  Write it  priority 50`)
  await expect(run(ticketEdit, { id: ticketId })).rejects.toMatchObject({ code: 'misuse' })
  expect((await run(ticketList, { state: ['ready', 'done'], text: 'write', sort: 'priority' })).text).toContain('Write it')
  expect((await run(ticketList, { state: ['done'] })).json).toEqual({ tickets: [] })

  const { id, token } = await admin.call(registerRunner, { body: { name: 'local' } })
  await server.as(token).call(claim, { body: { waitMs: 0, kinds: ['attempt'], driver: 'process', isolates: false, capacity: 2, bootId: 'boot-0001', claimKey: 'key-00001' } })
  await run(runnerDrain, { id, reason: 'a new disk' })
  expect((await run(runnerList)).text).toContain('drained: a new disk')
  const shown = (await run(runnerShow, { id, since: '4w' })).text
  expect(shown).toMatch(new RegExp(`local {2}online, drained since .* by admin admin: a new disk[^]*holds +attempt ATT-\\w+ of ${ticketId}`))
  await run(runnerUndrain, { id })
  expect((await run(runnerList)).text).toContain('taken')
  await expect(run(runnerRemove, { id })).rejects.toMatchObject({ code: 'runner_not_idle' })
  expect((await run(vmList, { state: 'paused', runner: id, since: '2026-01-31' })).json).toEqual({ vms: [] })

  const bill = await run(usage, { by: 'project,day', since: '7d' })
  expect(bill.text?.split('\n').map((line) => line.trim().split(/ {2,}/)[0])).toEqual(['PROJECT', 'shop', 'total'])
  expect(bill.json).toMatchObject({ rows: [{ project: 'shop', attempts: 1, tickets: 1, merged: 0, costMicroUsd: 0 }], total: { attempts: 1 } })
  const csv = join(place.home, 'usage.csv')
  expect((await run(usage, { csv })).json).toEqual({ path: csv, rows: 1 })
  expect(readFileSync(csv, 'utf8').split('\r\n')[1]).toBe(`,${project.id},shop,,,0,0,0,0,0,0,0,1,0,1,0`)
  await expect(run(usage, { csv })).rejects.toMatchObject({ code: 'file_exists' })
  expect(() => usage.input.parse({ since: 'yesterday' })).toThrow('12h, 7d or 4w')
  expect(() => usage.input.parse({ by: 'colour' })).toThrow('project, agent, model or day')

  const saved = await run(viewSave, { name: 'Urgent', project: 'shop', shared: true, minPriority: '50' })
  expect((await run(viewSave, { name: 'Urgent', project: 'shop', state: ['ready'] })).json).toMatchObject({ id: saved.json['id'], shared: false, settings: { filters: { state: ['ready'] } } })
  await expect(run(viewSave, { name: 'Urgent' })).rejects.toMatchObject({ code: 'name_taken' })
  await expect(run(viewSave, { name: 'x', shared: true })).rejects.toMatchObject({ code: 'misuse' })
  expect((await run(viewList)).text).toMatch(/Urgent +PRJ-\w+ +yours +state ready +priority/)
  await run(viewRemove, { id: saved.json['id'] })
  expect((await run(viewList)).json).toEqual({ views: [] })
})
