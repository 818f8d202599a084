import { hostname } from 'node:os'
import { git } from '@swarm/git/run.ts'
import { expect, test } from 'vitest'
import { eachDialect } from '../db/testing.ts'
import { appendEvents } from '../events/events.ts'
import { mergePathOver } from '../features/changes/testing.ts'
import { checkRecords } from '../features/integrity/integrity.ts'
import { newId } from '../ids.ts'
import { readRef } from '../integrations/builtin-code-host/bare.ts'
import { repairRecords } from './repair.ts'

const NOTHING = { leftovers: [], liveVms: [], processes: 0 }

eachDialect((_dialect, make) => {
  test('a branch that went astray, an ended lease and a dead call are mended, and then nothing is left to report; a running platform is left to it', async () => {
    await using place = await make()
    const input = { home: place.home, databaseUrl: place.databaseUrl, settled: true }
    const { main, path, branch, head } = await (async () => {
      await using db = await place.open()
      const world = await mergePathOver(db, place.home, 'checks: { test: "true" }\n')
      world.clock.now = Date.now()
      const review = await world.inReview('a', { 'a.txt': 'a\n' })
      const change = await world.change(review)
      const id = newId('call')
      await db.write(async (trx) => {
        await trx.insertInto('model_calls').values({
          id, project_id: world.projectId, session_id: null, ticket_id: null, attempt_id: null, role: 'developer', step: null, provider: 'rehearsal', model: 'rehearsal', state: 'open', estimated: 0,
          reserved_micro_usd: 10, reserved_tokens: 0, cost_micro_usd: null, tokens: null, ceiling: null, approval_id: null, input_tokens: null, output_tokens: null, cache_read_tokens: null, cache_write_tokens: null, status: null, tries: 0,
          request_digest: null, response_digest: null, correlation_id: id, owner: `${hostname()}/999999999/gone`, created_at: 1, ended_at: null,
        }).execute()
        await appendEvents(trx, [{ type: 'model:reserved', projectId: world.projectId, subject: { kind: 'project', id: world.projectId }, data: { callId: id, reservedMicroUsd: 10, projectId: world.projectId, sessionId: null } }])
      })
      // A lease that ended an hour ago: the clock of the engine was there.
      world.clock.now = Date.now() - 3_600_000
      await world.claim(await world.plan('b'))
      await git(world.path, ['update-ref', `refs/heads/${change.branch}`, await world.main()])
      return { main: await world.main(), path: world.path, branch: change.branch, head: change.head_sha }
    })()
    const report = await checkRecords(input, NOTHING)
    expect(report.violations.map(({ invariant, subject, repairable }) => `${invariant} ${subject.kind} ${repairable}`).toSorted()).toEqual(['I3 change true', 'I6 attempt true', 'I6 call true'])
    expect((await repairRecords(input, { ...report, live: true })).map(({ done }) => done)).toEqual([false, false, false])
    expect((await repairRecords(input, report)).map(({ done }) => done)).toEqual([true, true, true])
    expect(await checkRecords(input, NOTHING)).toMatchObject({ ok: true, violations: [] })
    expect(await readRef(path, `refs/heads/${branch}`)).toBe(head)
    expect(await readRef(path, 'refs/heads/main')).toBe(main)
  })
})
