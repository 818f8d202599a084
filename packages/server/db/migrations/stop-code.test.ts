import { expect, test } from 'vitest'
import { eachDialect } from '../testing.ts'
import { MIGRATIONS } from './index.ts'

eachDialect((_, make) => {
  test('what an earlier version noted about a stop keeps its meaning after the upgrade: a stall leaves its ticket at work, a person does not', async () => {
    await using place = await make('empty')
    {
      await using db = await place.open({ migrations: Object.fromEntries(Object.entries(MIGRATIONS).filter(([name]) => name < '0008')) })
      await db.write(async (trx) => {
        await trx.insertInto('projects').values({ id: 'PRJ-1', slug: 'p', name: 'p', settings: '{}', created_at: 1 }).execute()
        await trx.insertInto('repositories').values({ id: 'REP-1', project_id: 'PRJ-1', slug: 'r', default_branch: 'main', origin: null, created_at: 1 }).execute()
        for (const [number, state, reason] of [[1, 'in_progress', 'stalled'], [2, 'on_hold', 'stalled'], [3, 'on_hold', 'not now'], [4, 'in_progress', null]] as const) {
          await trx.insertInto('tickets').values({
            id: `TKT-${number}`, project_id: 'PRJ-1', repository_id: 'REP-1', session_id: null, key: 'k', title: 't', description: '', acceptance: '[]', scope: '[]', requirements: '[]', predicted_files: '[]',
            agent_name: 'a', state, hold_reason: null, priority: 0, wave: 0, story_points: 1, fence: 1, attempt_count: 1, failure_counts: '{}', retry_at: null, branch: `swarm/TKT-${number}`, head_sha: null,
            next_base_sha: null, next_start_sha: null, evidence: '[]', ready_at: 1, created_at: 1, updated_at: 1, open_dependencies: 0,
          }).execute()
          const attempt = {
            id: `ATT-${number}`, ticket_id: `TKT-${number}`, project_id: 'PRJ-1', number: 1, fence: 1, state: 'running', agent_name: 'a', agent_version: 1, runner_id: null, claim_key: null, vm_id: null, correlation_id: 'c',
            base_sha: '', start_sha: '', head_sha: null, wip_sha: null, summary: null, lease_expires_at: 1, deadline_at: 1, activity_at: null, status_sequence: -1, stop_reason: reason,
            failure_class: null, failure_reason: null, failure_message: null, evidence: null, gate: null, created_at: 1, ended_at: null,
          }
          await trx.insertInto('attempts').values(attempt as never).execute()
        }
      })
    }
    await using db = await place.open()
    expect((await db.read.selectFrom('attempts').select('stop_code').orderBy('id').execute()).map((row) => row.stop_code)).toEqual(['stalled', 'stopped', 'stopped', null])
  })
})
