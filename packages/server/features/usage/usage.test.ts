import type { pathOf } from '@swarm/contract/client.ts'
import { exportUsage, listUsage } from '@swarm/contract/endpoints/usage.ts'
import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { expect, test } from 'vitest'
import { DAY_MS } from '../../db/days.ts'
import type { Schema } from '../../db/schema.ts'
import type { Insertable } from 'kysely'
import { eachDialect } from '../../db/testing.ts'
import { startTestServer, type TestServer } from '../../testing.ts'
import { person } from '../../testing-people.ts'

const DAY = 20_000 * DAY_MS
const CALL = { session_id: null, step: null, provider: 'rehearsal', state: 'settled', estimated: 0, reserved_micro_usd: 0, reserved_tokens: 0, tokens: 0, ceiling: null, approval_id: null, cache_read_tokens: 0, cache_write_tokens: 0, status: 200, tries: 1, request_digest: null, response_digest: null, correlation_id: 'c', owner: 'o', ended_at: null }

/** Two projects: in the first, a ticket of two attempts on two days that is merged, one that failed, and a call of the designer; in the second, one call. */
async function withWork(server: TestServer): Promise<{ first: string; second: string }> {
  const [first, second] = [(await server.admin.call(createProject, { body: { slug: 'first' } })).id, (await server.admin.call(createProject, { body: { slug: 'second' } })).id]
  await server.context.db.write(async (trx) => {
    await trx.insertInto('repositories').values({ id: 'REP-00000000', project_id: first, slug: 'r', default_branch: 'main', origin: null, created_at: 1 }).execute()
    await trx.insertInto('design_sessions').values({ id: 'SES-00000001', project_id: first, repository_id: 'REP-00000000', title: 's', state: 'completed', base_sha: '', spec_version: 1, plan: null, plan_hash: null, max_cost_micro_usd: null, token_cap: 1, model_label: 'rehearsal', failure: null, correlation_id: 'c', created_at: 1, updated_at: 1 }).execute()
    const ticket = (id: string, state: string, attempts: number) => trx.insertInto('tickets').values({
      id, project_id: first, repository_id: 'REP-00000000', session_id: 'SES-00000001', key: id, title: id, description: '', acceptance: '[]', scope: '[]', requirements: '[]', predicted_files: '[]', agent_name: 'developer', state, hold_reason: null,
      priority: 0, wave: 1, story_points: 1, fence: 1, attempt_count: attempts, failure_counts: '{}', retry_at: null, branch: id, head_sha: null, next_base_sha: null, next_start_sha: null, evidence: '[]', ready_at: null, created_at: DAY, updated_at: DAY,
    }).execute()
    const attempt = (id: string, ticketId: string, number: number, at: number, wallMs: number, agent = 'developer') => trx.insertInto('attempts').values({
      id, ticket_id: ticketId, project_id: first, number, fence: number, state: 'failed', agent_name: agent, agent_version: 1, runner_id: null, claim_key: null, vm_id: null, correlation_id: id, base_sha: '', start_sha: '', head_sha: null, wip_sha: null, summary: null,
      lease_expires_at: null, deadline_at: at, activity_at: null, status_sequence: -1, stop_code: null, stop_reason: null, failure_class: null, failure_reason: null, failure_message: null, evidence: null, gate: null, created_at: at, ended_at: at + wallMs,
    }).execute()
    let calls = 0
    const call = (values: Partial<Insertable<Schema['model_calls']>> & { cost_micro_usd: number; created_at: number }) => trx.insertInto('model_calls').values({
      ...CALL, id: `CAL-0000000${++calls}`, project_id: first, ticket_id: null, attempt_id: null, role: 'developer', model: 'small', input_tokens: 10, output_tokens: 1, ...values,
    }).execute()
    await ticket('TKT-00000001', 'done', 2)
    await ticket('TKT-00000002', 'failed', 1)
    await attempt('ATT-00000001', 'TKT-00000001', 1, DAY + 5, 1_000)
    await attempt('ATT-00000002', 'TKT-00000001', 2, DAY + DAY_MS, 2_000)
    await attempt('ATT-00000003', 'TKT-00000002', 1, DAY + DAY_MS + 7, 4_000, 'shell-runner')
    await call({ ticket_id: 'TKT-00000001', attempt_id: 'ATT-00000001', cost_micro_usd: 100, created_at: DAY + 6 })
    await call({ ticket_id: 'TKT-00000001', attempt_id: 'ATT-00000002', cost_micro_usd: 200, created_at: DAY + DAY_MS, model: 'large', estimated: 1 })
    await call({ ticket_id: 'TKT-00000001', attempt_id: 'ATT-00000002', cost_micro_usd: 9_999, created_at: DAY + DAY_MS, state: 'open' })
    await call({ role: 'designer', session_id: 'SES-00000001', cost_micro_usd: 50, created_at: DAY, model: 'large', cache_read_tokens: 3, cache_write_tokens: 4 })
    await call({ project_id: second, cost_micro_usd: 7, created_at: DAY, role: 'admin' })
  })
  return { first, second }
}

eachDialect((_dialect, make) => {
  test('usage is added up by project, agent, model and day, each call and attempt once, and given by pages', async () => {
    await using place = await make()
    await using server = await startTestServer(place)
    const { first, second } = await withWork(server)
    const ask = (query: Parameters<typeof pathOf>[2]) => server.admin.call(listUsage, { query })
    const all = await ask({})
    expect(all.total).toEqual({ calls: 4, inputTokens: 40, outputTokens: 4, cacheReadTokens: 3, cacheWriteTokens: 4, costMicroUsd: 357, estimatedMicroUsd: 200, attempts: 3, wallMs: 7_000, tickets: 2, merged: 1 })
    expect(all.items).toEqual([{ projectId: null, project: null, agent: null, model: null, day: null, ...all.total }])
    const brief = (items: typeof all.items, ...keys: ('project' | 'agent' | 'model' | 'day' | 'costMicroUsd' | 'attempts' | 'merged' | 'tickets')[]) => items.map((item) => keys.map((key) => item[key]).join(' '))
    expect(brief((await ask({ groupBy: 'project' })).items, 'project', 'costMicroUsd', 'attempts').toSorted()).toEqual(['first 350 3', 'second 7 0'])
    expect(brief((await ask({ groupBy: ['agent'], projectId: 'first' })).items, 'agent', 'costMicroUsd', 'attempts', 'tickets', 'merged').toSorted()).toEqual(['designer 50 0 0 0', 'developer 300 2 1 1', 'shell-runner 0 1 1 0'])
    expect(brief((await ask({ groupBy: ['model'], projectId: first })).items, 'model', 'costMicroUsd', 'attempts').toSorted()).toEqual([' 0 1', 'large 250 1', 'small 100 1'])
    expect(brief((await ask({ groupBy: ['day'], projectId: first })).items, 'day', 'costMicroUsd', 'attempts')).toEqual(['2024-10-04 150 1', '2024-10-05 200 2'])
    expect(brief((await ask({ groupBy: ['day'], since: DAY + DAY_MS, until: DAY + DAY_MS + 7 })).items, 'day', 'costMicroUsd', 'attempts')).toEqual(['2024-10-05 200 1'])
    expect((await ask({ ticketId: 'TKT-00000001', model: 'large' })).total).toMatchObject({ costMicroUsd: 200, attempts: 1 })
    expect((await ask({ sessionId: 'SES-00000001', agent: 'designer' })).total).toMatchObject({ costMicroUsd: 50, cacheReadTokens: 3, attempts: 0 })
    expect((await ask({ projectId: second })).total).toMatchObject({ costMicroUsd: 7 })

    const groupBy = ['model', 'day', 'agent', 'project']
    const whole = await ask({ groupBy })
    const paged: typeof whole.items = []
    let cursor: string | undefined
    do {
      const page = await ask({ groupBy, limit: 1, ...(cursor === undefined ? {} : { cursor }) })
      expect(page.total).toEqual(all.total)
      paged.push(...page.items)
      cursor = page.nextCursor ?? undefined
    } while (cursor !== undefined)
    expect(paged).toEqual(whole.items)
    for (const key of ['costMicroUsd', 'calls', 'attempts', 'wallMs', 'merged'] as const) expect(whole.items.reduce((sum, item) => sum + item[key], 0)).toBe(all.total[key])
    const second1 = await ask({ groupBy: 'project', limit: 1 })
    await expect(ask({ groupBy: 'day', cursor: second1.nextCursor })).rejects.toMatchObject({ status: 400 })
    await expect(ask({ groupBy: 'colour' })).rejects.toMatchObject({ status: 400 })
  })

  test('usage as a file has a line for each group, and members of a project see its usage and no other', async () => {
    await using place = await make()
    await using server = await startTestServer(place)
    const { second } = await withWork(server)
    const get = async (query: string) => fetch(`${server.url}${exportUsage.path}?${query}`, { headers: { authorization: `Bearer ${server.adminToken}` } })
    const csv = await get('format=csv&groupBy=project&groupBy=agent&projectId=second')
    expect(csv.headers.get('content-disposition')).toBe('attachment; filename="usage.csv"')
    expect((await csv.text()).split('\r\n')).toEqual([
      'day,project_id,project,agent,model,calls,input_tokens,output_tokens,cache_read_tokens,cache_write_tokens,cost_micro_usd,estimated_micro_usd,attempts,wall_ms,tickets,merged',
      `,${second},second,admin,,1,10,1,0,0,7,0,0,0,0,0`, '',
    ])
    const lines = (await (await get('groupBy=day')).text()).trim().split('\n').map((line) => JSON.parse(line) as { day: string; costMicroUsd: number })
    expect(lines.map(({ day, costMicroUsd }) => [day, costMicroUsd])).toEqual([['2024-10-04', 157], ['2024-10-05', 200]])
    expect((await get('groupBy=day&since=x')).status).toBe(400)

    await expect(server.as().call(listUsage)).rejects.toMatchObject({ status: 401 })
    const stranger = await person(server, 'USR-00000001')
    expect((await stranger.call(listUsage)).total.costMicroUsd).toBe(0)
    await expect(stranger.call(listUsage, { query: { projectId: second } })).rejects.toMatchObject({ status: 404 })
    expect((await (await person(server, 'USR-00000002', 'viewer')).call(listUsage)).total.costMicroUsd).toBe(357)
  })
})
