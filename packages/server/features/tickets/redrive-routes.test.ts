import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository } from '@swarm/contract/endpoints/repositories.ts'
import { createTicket, holdTicket, retryTicket, retryTickets, showTicket } from '@swarm/contract/endpoints/tickets.ts'
import { registerRunner } from '@swarm/contract/runner-protocol.ts'
import { expect, test } from 'vitest'
import { sqlitePlace } from '../../db/testing.ts'
import { startTestServer } from '../../testing.ts'

test('a redrive over HTTP: 401 for strangers, 403 for runners, 400 for a class that there is not, and what went for an admin', async () => {
  await using place = await sqlitePlace()
  await using server = await startTestServer(place)
  const { admin } = server
  const project = await admin.call(createProject, { body: { slug: 'p' } })
  const repository = await admin.call(createRepository, { body: { projectId: project.id, slug: 'r' } })
  const ticket = await admin.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title: 'Do it', agent: 'developer' } })
  expect(ticket.waitsFor).toBe('a runner: none is online (swarm runner list)')
  await admin.call(holdTicket, { params: { ticketId: ticket.id }, body: { reason: 'not yet' } })

  const { token } = await admin.call(registerRunner, { body: { name: 'somebody' } })
  await expect(server.as().call(retryTickets, { body: {} })).rejects.toMatchObject({ status: 401 })
  await expect(server.as(token).call(retryTickets, { body: {} })).rejects.toMatchObject({ status: 403 })
  await expect(admin.call(retryTickets, { body: { failureClass: 'nothing' as 'agent' } })).rejects.toMatchObject({ status: 400 })
  await expect(admin.call(retryTickets, { body: { cursor: 'not ours' } })).rejects.toMatchObject({ status: 400 })
  await expect(admin.call(retryTickets, { body: { projectId: 'PRJ-00000000' } })).rejects.toMatchObject({ status: 404, code: 'not_found' })
  expect(await admin.call(retryTickets, { body: { projectId: project.id } })).toEqual({ sent: [ticket.id], left: [], nextCursor: null })
  expect((await admin.call(showTicket, { params: { ticketId: ticket.id } })).state).toBe('ready')
  await expect(admin.call(retryTicket, { params: { ticketId: ticket.id } })).rejects.toMatchObject({ status: 409 })
  await expect(admin.call(retryTicket, { params: { ticketId: 'TKT-00000000' } })).rejects.toMatchObject({ status: 404 })
})
