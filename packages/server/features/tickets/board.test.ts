import type { pathOf } from '@swarm/contract/client.ts'
import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository } from '@swarm/contract/endpoints/repositories.ts'
import { countTickets, createTicket, holdTicket, listTickets, showTicket, updateTicket } from '@swarm/contract/endpoints/tickets.ts'
import { claim, registerRunner } from '@swarm/contract/runner-protocol.ts'
import { expect, test } from 'vitest'
import { eachDialect } from '../../db/testing.ts'
import { startTestServer } from '../../testing.ts'
import { person } from '../../testing-people.ts'

eachDialect((_dialect, make) => {
  test('the board lists tickets by state, agent, text, priority and what they wait for, in three orders and by pages, and counts them by column', async () => {
    await using place = await make()
    await using server = await startTestServer(place)
    const { admin } = server
    const project = await admin.call(createProject, { body: { slug: 'p' } })
    const repository = await admin.call(createRepository, { body: { projectId: project.id, slug: 'r' } })
    const add = async (title: string, priority: number, dependsOn: string[] = []) => (await admin.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title, agent: 'developer', priority, dependsOn } })).id
    const low = await add('Lay out the 100 % page', -5)
    const high = await add('Write the parser', 50)
    const child = await add('Parser_errors', 0, [high])
    await admin.call(holdTicket, { params: { ticketId: low }, body: { reason: 'later' } })
    const list = async (query: Parameters<typeof pathOf>[2]) => (await admin.call(listTickets, { query })).items.map(({ id }) => id)

    expect((await list({})).toSorted()).toEqual([low, high, child].toSorted())
    expect(await list({ sort: 'priority' })).toEqual([high, child, low])
    expect((await list({ sort: 'updated' }))[0]).toBe(low)
    expect(await list({ state: ['on_hold', 'done'] })).toEqual([low])
    expect(await list({ state: 'ready', minPriority: 10 })).toEqual([high])
    expect(await list({ maxPriority: 0, sort: 'priority' })).toEqual([child, low])
    expect(await list({ text: 'PARSER', sort: 'priority' })).toEqual([high, child])
    expect(await list({ text: '0 %' })).toEqual([low])
    expect(await list({ text: 'r_e' })).toEqual([child])
    expect(await list({ text: child.toLowerCase() })).toEqual([child])
    expect(await list({ waiting: 'dependencies' })).toEqual([child])
    expect(await list({ waiting: 'person' })).toEqual([low])
    expect(await list({ agent: ['nobody'] })).toEqual([])
    await expect(list({ state: ['unheard-of'] })).rejects.toMatchObject({ status: 400 })
    await expect(list({ cursor: 'x' })).rejects.toMatchObject({ status: 400 })

    for (const sort of ['created', 'updated', 'priority'] as const) {
      const whole = await list({ sort })
      const paged: string[] = []
      let cursor: string | undefined
      do {
        const page = await admin.call(listTickets, { query: { sort, limit: 1, ...(cursor === undefined ? {} : { cursor }) } })
        paged.push(...page.items.map(({ id }) => id))
        cursor = page.nextCursor ?? undefined
      } while (cursor !== undefined)
      expect([sort, paged]).toEqual([sort, whole])
    }

    const counts = await admin.call(countTickets, { query: { projectId: 'p' } })
    expect([counts.total, ...counts.columns.flatMap(({ column, tickets, blocked }) => tickets === 0 ? [] : [[column, tickets, blocked]])]).toEqual([3, ['ready', 2, 1], ['stopped', 1, 0]])
  })

  test('priority and text of a ticket are changed on what was read, the text only before work begins, by those who work on the project', async () => {
    await using place = await make()
    await using server = await startTestServer(place)
    const { admin } = server
    const project = await admin.call(createProject, { body: { slug: 'p' } })
    const repository = await admin.call(createRepository, { body: { projectId: project.id, slug: 'r' } })
    const { id: ticketId } = await admin.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title: 'Write', agent: 'developer' } })
    const read = async () => (await fetch(`${server.url}/api/tickets/${ticketId}`, { headers: { authorization: `Bearer ${server.adminToken}` } })).headers.get('etag') ?? ''
    const change = (body: { priority?: number; title?: string }, etag?: string) => admin.call(updateTicket, { params: { ticketId }, body }, etag === undefined ? {} : { headers: { 'if-match': etag } })

    const seen = await read()
    expect(await change({ priority: 7, title: 'Write it' }, seen)).toMatchObject({ priority: 7, title: 'Write it', state: 'ready' })
    await expect(change({ priority: 8 }, seen)).rejects.toMatchObject({ status: 412, code: 'changed_meanwhile' })
    await expect(change({})).rejects.toMatchObject({ status: 400 })
    await expect(change({ priority: 101 })).rejects.toMatchObject({ status: 400 })
    await expect(admin.call(updateTicket, { params: { ticketId: 'TKT-00000000' }, body: { priority: 1 } })).rejects.toMatchObject({ status: 404 })
    await expect(server.as().call(updateTicket, { params: { ticketId }, body: { priority: 1 } })).rejects.toMatchObject({ status: 401 })
    await expect((await person(server, 'USR-00000001', 'viewer')).call(updateTicket, { params: { ticketId }, body: { priority: 1 } })).rejects.toMatchObject({ status: 403 })
    await expect((await person(server, 'USR-00000002')).call(updateTicket, { params: { ticketId }, body: { priority: 1 } })).rejects.toMatchObject({ status: 404 })
    expect(await (await person(server, 'USR-00000003', 'developer')).call(updateTicket, { params: { ticketId }, body: { priority: 9 } })).toMatchObject({ priority: 9 })

    const runner = server.as((await admin.call(registerRunner, { body: { name: 'local' } })).token)
    await runner.call(claim, { body: { waitMs: 0, kinds: ['attempt'], driver: 'process', isolates: false, capacity: 1, bootId: 'boot-0001', claimKey: 'key-00001' } })
    await expect(change({ priority: 3, title: 'Too late' })).rejects.toMatchObject({ status: 409, code: 'ticket_not_editable' })
    expect((await admin.call(showTicket, { params: { ticketId } }))).toMatchObject({ title: 'Write it', priority: 9, state: 'claimed' })
    expect(await change({ priority: 3 })).toMatchObject({ priority: 3 })
    const edited = await server.context.db.read.selectFrom('events').select('data').where('type', '=', 'ticket:edited').orderBy('seq').execute()
    expect(edited.map(({ data }) => (JSON.parse(data) as { by: string; fields: string[] })).map(({ by, fields }) => [by, fields])).toEqual([
      ['admin admin', ['priority', 'title']], ['user USR-00000003', ['priority']], ['admin admin', ['priority']],
    ])
  })
})
