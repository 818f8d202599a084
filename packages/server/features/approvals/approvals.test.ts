import type { Client } from '@swarm/contract/client.ts'
import { decideApproval, showApproval } from '@swarm/contract/endpoints/approvals.ts'
import { listAudit } from '@swarm/contract/endpoints/audit.ts'
import { setPolicy } from '@swarm/contract/endpoints/policies.ts'
import { createProject, showProject, updateProject } from '@swarm/contract/endpoints/projects.ts'
import type { ApiError } from '@swarm/contract/errors.ts'
import { APPROVAL_TIMES } from '@swarm/core/approvals/approval.ts'
import { expect, test } from 'vitest'
import type { Database } from '../../db/database.ts'
import { eachDialect, sqlitePlace } from '../../db/testing.ts'
import { newId } from '../../ids.ts'
import { person } from '../../testing-people.ts'
import { startTestServer } from '../../testing.ts'
import { approvalById, nextApprovalTime } from './queries.ts'
import { createApprovals, hashPayload, type ApprovalService } from './service.ts'
import type { Decision } from './testing.ts'
import { approvalWorld } from './testing.ts'

const codeOf = (outcome: PromiseSettledResult<unknown>): string => outcome.status === 'fulfilled' ? 'done' : String((outcome.reason as { code?: string }).code)

async function eventTypes(db: Database): Promise<string[]> {
  // Not by the reader of the log: on PostgreSQL that waits for older transactions of the whole cluster, other tests' too.
  return (await db.read.selectFrom('events').select('type').orderBy('seq').execute()).map((event) => event.type)
}

eachDialect((_dialect, make) => {
  test('of racing decisions the first wins, its action happens once, and the others are told who was first', async () => {
    await using place = await make()
    await using db = await place.open()
    const world = approvalWorld(db)
    const id = await world.request('build_start', { plan: 'a' })
    const decisions: Decision[] = ['approved', 'rejected', 'approved', 'revision_requested', 'approved', 'rejected']
    const outcomes = await Promise.allSettled(decisions.map((decision, n) => world.decide(id, decision, { by: `person ${n}` })))
    const row = await world.row(id)
    expect(row.status).not.toBe('pending')
    outcomes.forEach((outcome, n) => { expect(codeOf(outcome)).toBe(decisions[n] === row.status ? 'done' : 'already_decided') })
    expect(world.done).toEqual(row.status === 'approved' ? [`approved ${id}`] : [`${row.status} ${id}`])
    expect((await eventTypes(db)).filter((type) => type === 'approval:resolved')).toHaveLength(1)
  })

  test('an approval whose decision is the action is used in the same unit, and only then', async () => {
    await using place = await make()
    await using db = await place.open()
    const world = approvalWorld(db)
    const approved = await world.request('build_start', { plan: 'a' })
    await world.decide(approved, 'approved')
    expect(await world.row(approved)).toMatchObject({ status: 'approved', used_at: expect.any(Number) as number })
    await world.decide(approved, 'approved')
    expect(world.done).toEqual([`approved ${approved}`])
    const rejected = await world.request('build_start', { plan: 'b' })
    await world.decide(rejected, 'rejected')
    expect(await world.row(rejected)).toMatchObject({ status: 'rejected', used_at: null })
    expect((await eventTypes(db)).filter((type) => type === 'approval:used')).toHaveLength(1)
  })

  test('an action that fails undoes its decision: the approval waits as before', async () => {
    await using place = await make()
    await using db = await place.open()
    const world = approvalWorld(db)
    const id = await world.request('build_start', { plan: 'a' })
    world.failNext()
    await expect(world.decide(id, 'approved')).rejects.toThrow('the action failed')
    expect(await world.row(id)).toMatchObject({ status: 'pending', used_at: null, decided_by: null })
    expect(await eventTypes(db)).toEqual(['approval:requested'])
  })

  test('a decision about something else than what is asked now decides nothing', async () => {
    await using place = await make()
    await using db = await place.open()
    const world = approvalWorld(db)
    const first = await world.request('merge', { head: 'a' })
    const second = await world.request('merge', { head: 'b' })
    expect(second).not.toBe(first)
    expect(await world.row(first)).toMatchObject({ status: 'cancelled' })
    await expect(world.decide(first, 'approved')).rejects.toMatchObject({ code: 'already_decided' })
    await expect(world.decide(second, 'approved', { payloadHash: (await world.row(first)).payload_hash })).rejects.toMatchObject({ code: 'payload_changed' })
    await expect(world.decide(newId('approval'), 'approved', { payloadHash: 'x' })).rejects.toMatchObject({ code: 'not_found' })
    expect(world.done).toEqual([])
    expect(await world.row(second)).toMatchObject({ status: 'pending' })
  })
})

test('an approval that nobody decides is reminded of, goes to administrators and lapses, each once, also after a restart; nothing is done', async () => {
  await using place = await sqlitePlace()
  const clock = { now: 1_800_000_000_000 }
  await using db = await place.open()
  const lapsed: string[] = []
  const begin = (): ApprovalService => {
    const approvals = createApprovals({ now: () => clock.now, makeId: newId })
    approvals.onDecision('merge', {
      approved: async () => { throw new Error('silence is no consent') }, rejected: async () => undefined,
      expired: async (_, approval) => { lapsed.push(`${approval.id} after ${approval.waitedMs / 3_600_000} h`) },
    })
    return approvals
  }
  let approvals = begin()
  const id = await db.write((trx) => approvals.request(trx, { kind: 'merge', projectId: 'PRJ-1', subject: { kind: 'change', id: 'CHG-1' }, requester: 'swarm', payload: { head: 'a' }, correlationId: 'test' }))
  const due = async (): Promise<number> => {
    let times = 0
    while (await db.write((trx) => approvals.keepTime(trx))) times += 1
    return times
  }
  const { merge } = APPROVAL_TIMES
  expect(await nextApprovalTime(db.read)).toBe(clock.now + merge.remindMs)
  expect(await due()).toBe(0)
  clock.now += merge.remindMs
  expect(await due()).toBe(1)
  approvals = begin()
  clock.now += merge.escalateMs - merge.remindMs
  expect(await due()).toBe(1)
  expect(await approvalById(db.read, id)).toMatchObject({ status: 'pending', escalated_to: 'admin' })
  clock.now += merge.expireMs - merge.escalateMs
  await expect(db.write((trx) => approvals.decide(trx, { approvalId: id, decision: 'approved', payloadHash: hashPayload({ head: 'a' }), reason: '', decidedBy: 'user USR-1', byYesFlag: false, correlationId: 'test' }))).rejects.toMatchObject({ code: 'already_decided', details: { decision: 'expired' } })
  // Two replicas at once.
  await Promise.all([due(), due()])
  expect(lapsed).toEqual([`${id} after 168 h`])
  expect(await approvalById(db.read, id)).toMatchObject({ status: 'expired', used_at: null })
  expect(await eventTypes(db)).toEqual(['approval:requested', 'approval:reminded', 'approval:escalated', 'approval:resolved'])
  expect(await nextApprovalTime(db.read)).toBeNull()
})

test('what a policy has wait for approval is let through once, for exactly the request that was approved, and not by who asked', async () => {
  await using place = await sqlitePlace()
  await using server = await startTestServer(place)
  const [asking, deciding] = [await person(server, 'USR-ASKS0000', 'admin'), await person(server, 'USR-DECIDES0', 'admin')]
  const project = await asking.call(createProject, { body: { slug: 'shop' } })
  await deciding.call(setPolicy, { params: { organizationId: 'default', policyId: 'settings-by-two' }, body: { version: 0, cedar: '@approval("policy") forbid (principal, action == Action::"project:update", resource);' } })
  const change = (name: string) => asking.call(updateProject, { params: { projectId: 'shop' }, body: { name } })
  const refusal = await change('First').then(() => null, (error: ApiError) => error)
  expect(refusal).toMatchObject({ status: 409, code: 'approval_required', details: { policies: ['settings-by-two'] } })
  const approvalId = String(refusal?.details['approvalId'])
  await expect(change('First')).rejects.toMatchObject({ details: { approvalId } })
  const approval = await deciding.call(showApproval, { params: { approvalId } })
  expect(approval).toMatchObject({ kind: 'policy', requester: 'user USR-ASKS0000', payload: { action: 'project:update', request: { body: { name: 'First' } } } })
  const approve = (who: Client) => who.call(decideApproval, { params: { approvalId }, body: { decision: 'approved', payloadHash: approval.payloadHash } })
  await expect(approve(asking)).rejects.toMatchObject({ code: 'own_request' })
  expect(await approve(deciding)).toMatchObject({ status: 'approved', usedAt: null })
  // Another body, another person: neither is what was approved.
  await expect(change('Second')).rejects.toMatchObject({ code: 'approval_required' })
  await expect(deciding.call(updateProject, { params: { projectId: 'shop' }, body: { name: 'First' } })).rejects.toMatchObject({ code: 'approval_required' })
  const outcomes = await Promise.allSettled([change('First'), change('First'), change('First')])
  expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  expect(await deciding.call(showApproval, { params: { approvalId } })).toMatchObject({ status: 'approved', usedAt: expect.any(Number) as number })
  expect((await deciding.call(showProject, { params: { projectId: 'shop' } })).name).toBe('First')
  const record = (await deciding.call(listAudit, { query: { action: 'project:update', principalId: 'USR-ASKS0000' } })).items.map(({ outcome }) => outcome)
  expect(record.filter((outcome) => outcome === 'allow')).toHaveLength(1)
  expect(project.id).toBe((await asking.call(showProject, { params: { projectId: 'shop' } })).id)
})
