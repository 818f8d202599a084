import { decideApproval, listApprovals, showApproval } from '@swarm/contract/endpoints/approvals.ts'
import { BuildPayload, cancelSession, createSession, diffSpecVersions, editSpec, listSpecVersions, showSession, showSpecVersion } from '@swarm/contract/endpoints/design.ts'
import type { Database } from '@swarm/server/db/database.ts'
import { eachDialect } from '@swarm/server/db/testing.ts'
import { expect, test } from 'vitest'
import { diligent } from './designer-model.ts'
import { refusal, serveDesign, type ServedDesign } from './served.ts'

const spec = (requirements: Record<string, string>, rest = '') => `# Tips\n\n## Requirements\n${Object.entries(requirements).map(([id, text]) => `- ${id} ${text}`).join('\n')}\n${rest}`
const FIRST = { R1: 'Tips are whole cents.', R2: 'The total is shown.', R11: 'Each guest has a share.' }
const EXISTING = { 'package.json': '{"scripts":{"test":"node --test"}}', 'src/index.js': 'export {}\n' }

eachDialect((_dialect, make) => {
  const served = () => serveDesign(make, diligent, EXISTING)
  const begin = async (place: ServedDesign, requirements: Record<string, string> = FIRST): Promise<string> => {
    const { id } = await place.admin.call(createSession, { body: { projectId: 'PRJ-1', repositoryId: 'REP-1', spec: spec(requirements), clarify: 'off' } })
    await place.design.idle()
    return id
  }
  const building = async (place: ServedDesign): Promise<string> => {
    const id = await begin(place)
    await place.decide('spec_approval', 'approved')
    await place.decide('build_start', 'approved')
    return id
  }
  const edit = (place: ServedDesign, sessionId: string, text: string, baseVersion = 1, reason = '') => place.admin.call(editSpec, { params: { sessionId }, body: { spec: text, baseVersion, reason } })
  const ticketRows = async (db: Database) => {
    const rows = await db.read.selectFrom('tickets').select(['id', 'key', 'state', 'open_dependencies']).orderBy('key').execute()
    const pairs = await db.read.selectFrom('ticket_dependencies').selectAll().execute()
    const keyOf = new Map(rows.map(({ id, key }) => [id, key]))
    return Object.fromEntries(rows.map(({ id, key, state, open_dependencies }) => [key, `${state}, waits for ${open_dependencies} of [${pairs.filter((pair) => pair.ticket_id === id).map((pair) => keyOf.get(pair.depends_on_id)).sort().join()}]`]))
  }
  /** As a runner and the merge queue would leave it. */
  const start = (db: Database, key: string, state: string) => db.write(async (trx) => { await trx.updateTable('tickets').set({ state, attempt_count: 1 }).where('key', '=', key).execute() })

  test('an edit makes a version with author and reason, voids open approvals, and has only what it touches planned again', async () => {
    await using place = await served()
    const id = await begin(place)
    const before = await place.admin.call(showSession, { params: { sessionId: id } })
    expect(before.plan?.tickets.map(({ key }) => key)).toEqual(['do-r1', 'do-r2', 'do-r11'])
    const asked = place.model.served.length
    await edit(place, id, spec({ R1: FIRST.R1, R2: 'The total is shown in bold.', R11: FIRST.R11, R12: 'Shares add up.' }), 1, 'bold totals')
    const after = await place.settled(id)
    expect(after).toMatchObject({ state: 'reviewing', specVersion: 2, plan: { specVersion: 2, change: { sinceVersion: 1, kept: ['do-r1', 'do-r11'], added: ['do-r2', 'do-r12'], dropped: [], started: [] } } })
    const again = place.model.served.slice(asked)
    expect(again.map(({ step, requirements }) => [step, requirements.map((each) => each.id)])).toEqual([['skeleton@2', ['R12']], ['expand:part-1@2', ['R2']], ['expand:part-2@2', ['R12']]])
    expect(again[1]?.content).toContain('- do-r1: Tips are whole cents.')

    const { items: versions } = await place.admin.call(listSpecVersions, { params: { sessionId: id }, query: { limit: 1 } })
    expect(versions).toMatchObject([{ version: 2, author: 'admin admin', reason: 'bold totals', requirements: 4 }])
    expect((await place.admin.call(listSpecVersions, { params: { sessionId: id }, query: { limit: 1, cursor: '2' } }))).toMatchObject({ items: [{ version: 1, requirements: 3 }], nextCursor: null })
    expect(await place.admin.call(diffSpecVersions, { params: { sessionId: id, version: 1, to: 2 } })).toEqual({
      from: 1, to: 2, everywhere: [], removed: [], added: [{ id: 'R12', text: 'Shares add up.' }], changed: [{ id: 'R2', before: 'The total is shown.', after: 'The total is shown in bold.' }],
      unified: '--- version 1\n+++ version 2\n@@ -2,5 +2,6 @@\n \n ## Requirements\n - R1 Tips are whole cents.\n-- R2 The total is shown.\n+- R2 The total is shown in bold.\n - R11 Each guest has a share.\n+- R12 Shares add up.\n',
    })
    const approvals = await place.db.read.selectFrom('approvals').select(['kind', 'status']).orderBy('created_at').execute()
    expect(approvals).toEqual([{ kind: 'spec_approval', status: 'cancelled' }, { kind: 'spec_approval', status: 'pending' }])
    expect(place.errors).toEqual([])
  })

  test('an edit on an old version, without rights, of nothing or of what is over is refused, and nothing changes', async () => {
    await using place = await served()
    const id = await begin(place)
    expect(await refusal(edit(place, id, spec({ R1: 'x' }), 7))).toEqual({ status: 409, code: 'version_conflict' })
    expect(await refusal(edit(place, id, '# empty'))).toEqual({ status: 422, code: 'spec_without_requirements' })
    expect(await refusal(edit(place, 'SES-00000000', spec({ R1: 'x' })))).toEqual({ status: 404, code: 'not_found' })
    expect(await refusal(place.stranger.call(editSpec, { params: { sessionId: id }, body: { spec: spec({ R1: 'x' }), baseVersion: 1, reason: '' } }))).toEqual({ status: 401, code: 'unauthenticated' })
    expect(await refusal(place.admin.call(showSpecVersion, { params: { sessionId: id, version: 2 } }))).toEqual({ status: 404, code: 'not_found' })
    expect(await refusal(place.admin.call(diffSpecVersions, { params: { sessionId: id, version: 1, to: 2 } }))).toEqual({ status: 404, code: 'not_found' })
    // The same text again is no version.
    expect(await edit(place, id, spec(FIRST))).toMatchObject({ state: 'reviewing', specVersion: 1 })
    await place.admin.call(cancelSession, { params: { sessionId: id } })
    expect(await refusal(edit(place, id, spec({ R1: 'x' })))).toEqual({ status: 409, code: 'illegal_transition' })
    expect((await place.admin.call(listSpecVersions, { params: { sessionId: id }, query: {} })).items).toHaveLength(1)
  })

  test('an edit voids the confirmation of a build at once: what it was about can no longer be started', async () => {
    let hold = false
    await using place = await serveDesign(make, (call) => (hold ? { hold: true } : diligent(call)), EXISTING)
    const id = await begin(place)
    await place.decide('spec_approval', 'approved')
    const { items: [open] } = await place.admin.call(listApprovals, { query: { status: 'pending' } })
    hold = true
    await edit(place, id, spec({ R1: 'one' }))
    expect(await refusal(place.admin.call(decideApproval, { params: { approvalId: open?.id ?? '' }, body: { decision: 'approved', payloadHash: open?.payloadHash ?? '' } }))).toEqual({ status: 409, code: 'already_decided' })
    expect(await ticketRows(place.db)).toEqual({})
    await place.admin.call(cancelSession, { params: { sessionId: id } })
  })

  test('an edit while the designer works is what is planned in the end', async () => {
    let holding = false
    await using place = await serveDesign(make, (call) => {
      if (call.step !== 'expand:part-1' || holding) return diligent(call)
      holding = true
      return { hold: true }
    }, EXISTING)
    const { id } = await place.admin.call(createSession, { body: { projectId: 'PRJ-1', repositoryId: 'REP-1', spec: spec({ R1: 'one' }), clarify: 'off' } })
    await expect.poll(() => holding).toBe(true)
    await edit(place, id, spec({ R1: 'one', R2: 'two' }))
    expect(await place.settled(id)).toMatchObject({ state: 'reviewing', specVersion: 2, plan: { tickets: [{ key: 'do-r1' }, { key: 'do-r2' }], change: null } })
  })

  test('of a build, tickets that nobody started are replaced, started ones stay and get follow-ups, the rest is left alone', async () => {
    await using place = await served()
    const id = await building(place)
    expect(await ticketRows(place.db)).toEqual({ 'do-r1': 'ready, waits for 0 of []', 'do-r11': 'ready, waits for 2 of [do-r1,do-r2]', 'do-r2': 'ready, waits for 0 of []' })
    await start(place.db, 'do-r1', 'in_progress')
    await edit(place, id, spec({ R1: 'Tips are whole euros.', R2: 'The total is shown in bold.', R11: FIRST.R11 }), 1, 'euros')
    const shown = await place.settled(id)
    expect(shown).toMatchObject({ state: 'reviewing', plan: { change: { kept: ['do-r1', 'do-r11'], added: ['part-1-do-r1', 'part-1-do-r2'], dropped: ['do-r2'], started: ['do-r1'] } } })
    expect(place.model.served.at(-1)?.content).toContain('do-r1 (Tips are whole cents.) was built for R1: Tips are whole cents.')
    // Until the change is confirmed nothing happens to the tickets.
    expect(await ticketRows(place.db)).toMatchObject({ 'do-r2': 'ready, waits for 0 of []' })

    await place.decide('spec_approval', 'approved')
    const confirmed = BuildPayload.parse((await place.decide('build_start', 'approved')).payload)
    expect(confirmed).toMatchObject({ tickets: 3, change: { dropped: ['do-r2'], started: ['do-r1'] } })
    expect((await place.settled(id)).state).toBe('building')
    expect(await ticketRows(place.db)).toEqual({
      'do-r1': 'in_progress, waits for 0 of []', 'do-r2': 'cancelled, waits for 0 of []', 'part-1-do-r1': 'ready, waits for 1 of [do-r1]', 'part-1-do-r2': 'ready, waits for 0 of []',
      'do-r11': 'ready, waits for 2 of [do-r1,part-1-do-r2]',
    })
    const generated = await place.db.read.selectFrom('events').select('data').where('type', '=', 'tickets:generated').orderBy('seq').execute()
    expect(JSON.parse(generated.at(-1)?.data ?? '')).toMatchObject({ cancelled: ['do-r2'], startedMeanwhile: [] })
    expect(place.errors).toEqual([])
  })

  test('a ticket that is started between plan and confirmation goes on, and what replaces it waits for it', async () => {
    await using place = await served()
    const id = await building(place)
    await edit(place, id, spec({ ...FIRST, R2: 'The total is shown in bold.' }))
    await place.design.idle()
    await place.decide('spec_approval', 'approved')
    await start(place.db, 'do-r2', 'in_review')
    await place.decide('build_start', 'approved')
    expect(await ticketRows(place.db)).toMatchObject({ 'do-r2': 'in_review, waits for 0 of []', 'part-1-do-r2': 'ready, waits for 1 of [do-r2]' })
  })

  test('a change of a build that is rejected or taken back leaves the build as it was, as a version of its own', async () => {
    await using place = await served()
    const id = await building(place)
    const tickets = await ticketRows(place.db)
    await edit(place, id, spec({ R1: 'something else' }))
    await place.design.idle()
    await place.decide('spec_approval', 'rejected', 'not now')
    expect(await place.settled(id)).toMatchObject({ state: 'building', specVersion: 3, requirements: [{ id: 'R1' }, { id: 'R2' }, { id: 'R11' }], plan: { specVersion: 3, change: null } })
    await edit(place, id, spec({ R1: 'something else' }), 3)
    await place.design.idle()
    expect(await place.admin.call(cancelSession, { params: { sessionId: id } })).toMatchObject({ state: 'building', specVersion: 5 })
    expect((await place.admin.call(listSpecVersions, { params: { sessionId: id }, query: {} })).items.map(({ version, reason }) => [version, reason])).toEqual([
      [5, 'as version 3 again'], [4, ''], [3, 'not now'], [2, ''], [1, 'the spec that was handed in'],
    ])
    expect(await ticketRows(place.db)).toEqual(tickets)
    expect(await place.db.read.selectFrom('approvals').select('status').where('status', '=', 'pending').execute()).toEqual([])
    await place.db.write(async (trx) => {
      await trx.updateTable('tickets').set({ state: 'done' }).execute()
      expect(await place.design.completeIfDone(trx, id, 'corr-87654321')).toBe(true)
    })
  })

  test('a started ticket whose requirement is gone stays, and the plan says so', async () => {
    await using place = await served()
    const id = await building(place)
    await start(place.db, 'do-r1', 'done')
    await edit(place, id, spec({ R2: FIRST.R2, R11: FIRST.R11 }))
    const asked = place.model.served.length
    expect(await place.settled(id)).toMatchObject({ state: 'reviewing', plan: { findings: [{ code: 'removed_but_started', place: ['do-r1', 'R1'] }], change: { added: [], dropped: [] } } })
    expect(place.model.served).toHaveLength(asked)
  })

  test('the confirmation computes its numbers from finished tickets, says from which, and how earlier builds came out', async () => {
    await using place = await served()
    const id = await begin(place)
    await place.decide('spec_approval', 'approved')
    const first = BuildPayload.parse((await place.decide('build_start', 'approved')).payload)
    expect(first).toMatchObject({ tickets: 3, storyPoints: 6, waves: 2, concurrency: 8, vms: { least: 9, atOnce: 2, width: 2 }, criticalPath: { tickets: ['do-r1', 'do-r11'], storyPoints: 4 }, basis: { source: 'prior', count: 0 }, calibration: { builds: 0, tokens: null } })
    await finishBuild(place, 300_000)
    const { estimates } = await place.settled(id)
    expect(estimates).toMatchObject([{ specVersion: 1, comparison: { tokens: 1.25, microUsd: 1, elapsedMs: expect.any(Number) } }])

    // Three finished tickets are too few to go by; six are not.
    await begin(place)
    await place.decide('spec_approval', 'approved')
    expect(BuildPayload.parse((await place.decide('build_start', 'approved')).payload)).toMatchObject({ basis: { source: 'prior' }, calibration: { builds: 1, tokens: 1.25, microUsd: 1 } })
    await finishBuild(place, 300_000)
    await begin(place)
    const approval = await place.decide('spec_approval', 'approved')
    expect(approval.kind).toBe('spec_approval')
    const third = await place.decide('build_start', 'approved')
    expect(BuildPayload.parse((await place.admin.call(showApproval, { params: { approvalId: third.id } })).payload)).toMatchObject({
      basis: { source: 'project', count: 6, perPoint: { tokens: { low: 150_000, middle: 150_000, high: 150_000 }, workMs: { low: 30_000, high: 30_000 } } },
      tokens: { middle: 900_000 }, microUsd: { middle: 1_800_000 }, elapsedMs: { low: 120_000 },
    })
  })

  /** Ends the tickets of the build that is on, each with an attempt of a minute, a call of its model and half a minute of waiting for an answer. */
  async function finishBuild(place: ServedDesign, tokens: number): Promise<void> {
    await place.db.write(async (trx) => {
      const tickets = await trx.selectFrom('tickets').selectAll().where('state', '!=', 'done').execute()
      for (const [index, ticket] of tickets.entries()) {
        const attempt = `ATT-${ticket.id.slice(4)}`
        await trx.insertInto('attempts').values({
          id: attempt, ticket_id: ticket.id, project_id: ticket.project_id, number: 1, fence: 1, state: 'succeeded', agent_name: 'coder', agent_version: 1, correlation_id: 'c', base_sha: 'a', start_sha: 'a', deadline_at: 1, status_sequence: 0, created_at: 1_000, ended_at: 91_000,
        }).execute()
        await trx.insertInto('questions').values({ id: `QST-${ticket.id.slice(4)}`, attempt_id: attempt, ticket_id: ticket.id, project_id: ticket.project_id, text: 't', options: '[]', tool_use_id: 't', transcript_digest: 'd', answer: 'a', answered_by: 'b', created_at: 2_000, answered_at: 32_000 }).execute()
        await trx.insertInto('model_calls').values({
          id: `CAL-${ticket.id.slice(4)}`, project_id: ticket.project_id, session_id: ticket.session_id, ticket_id: ticket.id, role: 'developer', provider: 'rehearsal', model: 'm', state: 'settled', estimated: 0, reserved_micro_usd: 0, cost_micro_usd: 600_000, reserved_tokens: 0, tokens, tries: 1,
          correlation_id: 'c', owner: 'o', created_at: index,
        }).execute()
        await trx.updateTable('tickets').set({ state: 'done', attempt_count: 1 }).where('id', '=', ticket.id).execute()
      }
      expect(await place.design.completeIfDone(trx, tickets[0]?.session_id ?? '', 'corr-87654321')).toBe(true)
    })
  }
})
