import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { createView, listViews, removeView, showView, updateView } from '@swarm/contract/endpoints/views.ts'
import { expect, test } from 'vitest'
import { eachDialect } from '../../db/testing.ts'
import { startTestServer } from '../../testing.ts'
import { person } from '../../testing-people.ts'

eachDialect((_dialect, make) => {
  test('a view is its owner\'s until it is shared; then everybody in its project sees it and those who work there change it', async () => {
    await using place = await make()
    await using server = await startTestServer(place)
    await server.admin.call(createProject, { body: { slug: 'shop' } })
    const ann = await person(server, 'USR-0000000A', 'developer')
    const bob = await person(server, 'USR-0000000B', 'developer')
    const viewer = await person(server, 'USR-0000000C', 'viewer')
    const stranger = await person(server, 'USR-0000000D')
    const own = await ann.call(createView, { body: { name: 'Mine', projectId: 'shop', settings: { filters: { state: ['ready'], minPriority: 5 }, columns: ['working', 'done'], sort: 'updated' } } })
    expect(own).toMatchObject({ mine: true, shared: false, ownerId: 'USR-0000000A', settings: { filters: { state: ['ready'], minPriority: 5 }, columns: ['working', 'done'], sort: 'updated' } })
    const seen = async (who: typeof ann) => (await who.call(listViews, { query: { projectId: 'shop' } })).items.map(({ name, mine }) => [name, mine])
    expect([await seen(ann), await seen(bob)]).toEqual([[['Mine', true]], []])
    const at = { params: { viewId: own.id } }
    for (const call of [() => bob.call(showView, at), () => bob.call(updateView, { ...at, body: { name: 'Taken' } }), () => bob.call(removeView, at)]) await expect(call()).rejects.toMatchObject({ status: 404 })

    await ann.call(updateView, { ...at, body: { shared: true } })
    expect([await seen(bob), await seen(viewer)]).toEqual([[['Mine', false]], [['Mine', false]]])
    await expect(stranger.call(showView, at)).rejects.toMatchObject({ status: 404 })
    expect((await stranger.call(listViews)).items).toEqual([])
    await expect(viewer.call(updateView, { ...at, body: { name: 'Ours' } })).rejects.toMatchObject({ status: 403 })
    await expect(viewer.call(createView, { body: { name: 'x', projectId: 'shop', shared: true } })).rejects.toMatchObject({ status: 403 })
    await expect(stranger.call(createView, { body: { name: 'x', projectId: 'shop' } })).rejects.toMatchObject({ status: 404 })
    expect(await bob.call(updateView, { ...at, body: { name: 'Ours' } })).toMatchObject({ name: 'Ours', changedBy: 'user USR-0000000B', ownerId: 'USR-0000000A', mine: false })
    // How it ended is written after the answer.
    await expect.poll(async () => server.context.db.read.selectFrom('audit_entries').innerJoin('audit_outcomes', 'audit_outcomes.entry_id', 'audit_entries.id').select(['principal_id', 'outcome', 'status']).where('action', '=', 'view:share').execute()).toContainEqual({ principal_id: 'USR-0000000B', outcome: 'allow', status: 200 })
    await bob.call(removeView, at)
    await expect(ann.call(showView, at)).rejects.toMatchObject({ status: 404 })
  })

  test('a view is changed on what was read, has a name once, and holds only what a board understands', async () => {
    await using place = await make()
    await using server = await startTestServer(place)
    const { admin } = server
    const first = await admin.call(createView, { body: { name: 'One' } })
    expect(first).toMatchObject({ projectId: null, ownerId: 'admin', settings: { filters: {}, sort: 'priority' } })
    await admin.call(createView, { body: { name: 'Two' } })
    await expect(admin.call(createView, { body: { name: 'One' } })).rejects.toMatchObject({ status: 409, code: 'name_taken' })
    await expect(admin.call(updateView, { params: { viewId: first.id }, body: { name: 'Two' } })).rejects.toMatchObject({ status: 409, code: 'name_taken' })
    await expect(admin.call(updateView, { params: { viewId: first.id }, body: { shared: true } })).rejects.toMatchObject({ status: 400 })
    await expect(admin.call(createView, { body: { name: 'x', shared: true } })).rejects.toMatchObject({ status: 400 })
    for (const settings of [{ filters: { colour: 'red' } }, { columns: [] }, { columns: ['done', 'done'] }, { sort: 'luck' }, { filters: { state: ['asleep'] } }]) {
      await expect(admin.call(createView, { body: { name: 'x', settings: settings as never } })).rejects.toMatchObject({ status: 400 })
    }
    await expect(server.as().call(listViews)).rejects.toMatchObject({ status: 401 })
    const etag = (await fetch(`${server.url}/api/views/${first.id}`, { headers: { authorization: `Bearer ${server.adminToken}` } })).headers.get('etag') ?? ''
    const match = { headers: { 'if-match': etag } }
    await admin.call(updateView, { params: { viewId: first.id }, body: { name: 'First' } }, match)
    await expect(admin.call(updateView, { params: { viewId: first.id }, body: { name: 'Other' } }, match)).rejects.toMatchObject({ status: 412 })
    await expect(admin.call(removeView, { params: { viewId: first.id } }, match)).rejects.toMatchObject({ status: 412 })
    const page = await admin.call(listViews, { query: { limit: 1 } })
    const rest = await admin.call(listViews, { query: { limit: 1, cursor: page.nextCursor ?? '' } })
    expect([...page.items, ...rest.items].map(({ name }) => name).toSorted()).toEqual(['First', 'Two'])
    expect(rest.nextCursor).toBeNull()
    await admin.call(removeView, { params: { viewId: first.id } })
    await expect(admin.call(removeView, { params: { viewId: first.id } })).rejects.toMatchObject({ status: 404 })
  })
})
