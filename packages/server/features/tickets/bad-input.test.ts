import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository } from '@swarm/contract/endpoints/repositories.ts'
import { cancelTicket, createTicket, holdTicket, showTicket } from '@swarm/contract/endpoints/tickets.ts'
import { expect, test } from 'vitest'
import { eachDialect } from '../../db/testing.ts'
import { startTestServer } from '../../testing.ts'

eachDialect((_, make) => {
  test('a dependency that is named twice over HTTP is one, and a hold or a cancel without words is refused', async () => {
    await using place = await make()
    await using server = await startTestServer(place)
    const { admin } = server
    const project = await admin.call(createProject, { body: { slug: 'p' } })
    const repository = await admin.call(createRepository, { body: { projectId: project.id, slug: 'r' } })
    const plan = (title: string, dependsOn: string[]) => admin.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title, agent: 'developer', dependsOn } })
    const [one, two] = [await plan('One', []), await plan('Two', [])]
    const child = await plan('Child', [two.id, one.id, two.id])
    expect([...child.dependsOn].sort()).toEqual([one.id, two.id].sort())

    for (const endpoint of [holdTicket, cancelTicket]) await expect(admin.call(endpoint, { params: { ticketId: one.id }, body: { reason: ' \n\t' } })).rejects.toMatchObject({ status: 400 })
    expect(await admin.call(showTicket, { params: { ticketId: one.id } })).toMatchObject({ state: 'ready' })
    expect(await admin.call(holdTicket, { params: { ticketId: one.id }, body: { reason: '  not yet ' } })).toMatchObject({ state: 'on_hold', holdReason: 'not yet' })
  })
})
