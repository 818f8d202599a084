import { expect, test } from 'vitest'
import { eachDialect } from '../testing.ts'
import { MIGRATIONS } from './index.ts'

eachDialect((_, make) => {
  test('a change that an earlier version was merging waits in its place again after the upgrade, with the approval that it has', async () => {
    await using place = await make('empty')
    const before = Object.fromEntries(Object.entries(MIGRATIONS).filter(([name]) => name < '0002'))
    {
      await using db = await place.open({ migrations: before })
      await db.write(async (trx) => {
        await trx.insertInto('projects').values({ id: 'PRJ-1', slug: 'p', name: 'p', settings: '{}', created_at: 1 }).execute()
        await trx.insertInto('repositories').values({ id: 'REP-1', project_id: 'PRJ-1', slug: 'r', default_branch: 'main', origin: null, created_at: 1 }).execute()
        await trx.insertInto('tickets').values({
          id: 'TKT-1', project_id: 'PRJ-1', repository_id: 'REP-1', session_id: null, key: 'k', title: 't', description: '', acceptance: '[]', scope: '[]', requirements: '[]', predicted_files: '[]',
          agent_name: 'a', state: 'merging', hold_reason: null, priority: 0, wave: 0, story_points: 1, fence: 1, attempt_count: 1, failure_counts: '{}', retry_at: null, branch: 'swarm/TKT-1', head_sha: 'h',
          next_base_sha: null, next_start_sha: null, evidence: '[]', ready_at: 1, created_at: 1, updated_at: 1,
        }).execute()
        await trx.insertInto('changes').values({
          id: 'CHG-1', project_id: 'PRJ-1', repository_id: 'REP-1', ticket_id: 'TKT-1', branch: 'swarm/TKT-1', title: 't', body: '', state: 'open', base_sha: 'b', head_sha: 'h', merged_sha: null,
          evidence: '{}', created_at: 1, updated_at: 1,
        }).execute()
        const entry = { change_id: 'CHG-1', repository_id: 'REP-1', ticket_id: 'TKT-1', head_sha: 'h', state: 'checking', base_sha: 'b', candidate_sha: 'm', check_id: 'CHK-1', losses: 1, approval_id: 'APR-1', reason: null, created_at: 7, updated_at: 8 }
        await trx.insertInto('merge_entries').values(entry as never).execute()
      })
    }
    await using db = await place.open()
    expect(await db.read.selectFrom('merge_entries').selectAll().execute()).toMatchObject([{ state: 'queued', candidate_sha: null, check_id: null, batch_id: null, losses: 1, approval_id: 'APR-1', created_at: 7 }])
  })
})
