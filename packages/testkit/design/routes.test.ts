import { cancelSession, createSession, listSessions, retrySession, showSession } from '@swarm/contract/endpoints/design.ts'
import { eachDialect } from '@swarm/server/db/testing.ts'
import { expect, test } from 'vitest'
import { diligent } from './designer-model.ts'
import { refusal, serveDesign } from './served.ts'

const SPEC = '# Tips\n\n## Requirements\n- R1 Tips are whole cents.\n- R2 The total is shown.\n'

eachDialect((_dialect, make) => {
  const served = () => serveDesign(make, diligent)
  const body = { projectId: 'PRJ-1', repositoryId: 'REP-1', spec: SPEC, clarify: 'off' as const }

  test('a session is started, shown with plan and steps, listed and cancelled over HTTP', async () => {
    await using place = await served()
    const { admin } = place
    const made = await admin.call(createSession, { body: { ...body, maxCostMicroUsd: 5_000_000 } })
    expect(made).toMatchObject({ state: 'input', title: 'Tips', maxCostMicroUsd: 5_000_000, tokenCap: 32_000, modelLabel: 'rehearsal', failure: null })
    await place.design.idle()
    const shown = await admin.call(showSession, { params: { sessionId: made.id } })
    expect(shown).toMatchObject({ state: 'reviewing', can: { cancel: true, retry: false }, requirements: [{ id: 'R1', line: 4 }, { id: 'R2', line: 5 }], steps: [{ step: 'skeleton', usable: true }, { step: 'expand:part-1', usable: true }] })
    expect(shown.plan?.tickets.map(({ key, wave }) => [key, wave])).toEqual([['do-r1', 1], ['do-r2', 2]])
    await admin.call(createSession, { body })
    const page = await admin.call(listSessions, { query: { limit: 1, projectId: 'PRJ-1' } })
    expect(page.items).toHaveLength(1)
    const next = await admin.call(listSessions, { query: { limit: 1, cursor: page.nextCursor ?? '' } })
    expect(new Set([page.items[0]?.id, next.items[0]?.id]).size).toBe(2)
    expect(next.nextCursor).toBeNull()
    expect(await admin.call(cancelSession, { params: { sessionId: made.id } })).toMatchObject({ state: 'cancelled' })
    await place.design.idle()
  })

  test('what is not possible is refused with 401, 400, 404, 409, 413 or 422, and nothing is stored', async () => {
    await using place = await served()
    const { admin } = place
    expect(await refusal(place.stranger.call(createSession, { body }))).toEqual({ status: 401, code: 'unauthenticated' })
    expect(await refusal(admin.call(createSession, { body: { ...body, spec: '' } }))).toEqual({ status: 422, code: 'spec_empty' })
    expect(await refusal(admin.call(createSession, { body: { ...body, spec: '# T\n\nNothing to do.' } }))).toEqual({ status: 422, code: 'spec_without_requirements' })
    expect(await refusal(admin.call(createSession, { body: { ...body, spec: `${SPEC}${'x'.repeat(1024 * 1024)}` } }))).toEqual({ status: 413, code: 'spec_too_large' })
    expect(await refusal(admin.call(createSession, { body: { ...body, tokenCap: 10 } }))).toEqual({ status: 400, code: 'invalid_input' })
    expect(await refusal(admin.call(createSession, { body: { ...body, projectId: 'PRJ-2' } }))).toEqual({ status: 404, code: 'not_found' })
    expect(await refusal(admin.call(listSessions, { query: { cursor: 'x' } }))).toEqual({ status: 400, code: 'invalid_input' })
    expect(await refusal(admin.call(showSession, { params: { sessionId: 'SES-00000000' } }))).toEqual({ status: 404, code: 'not_found' })
    expect((await admin.call(listSessions, { query: {} })).items).toEqual([])
    const { id } = await admin.call(createSession, { body })
    await place.design.idle()
    expect(await refusal(admin.call(retrySession, { params: { sessionId: id } }))).toEqual({ status: 409, code: 'illegal_transition' })
  })
})
