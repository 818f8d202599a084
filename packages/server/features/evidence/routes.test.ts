import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { listEvidenceKeys, showEvidence, showEvidenceBlob } from '@swarm/contract/endpoints/evidence.ts'
import { showRecordedExchange, showRecording } from '@swarm/contract/endpoints/replay.ts'
import { readPublicKey } from '@swarm/contract/evidence-envelope.ts'
import { expect, test } from 'vitest'
import { sqlitePlace } from '../../db/testing.ts'
import { mintToken } from '../../http/tokens.ts'
import { startTestServer } from '../../testing.ts'

test('evidence, its keys and recordings are for admins alone; what there is none of is said with its reason', async () => {
  await using place = await sqlitePlace()
  await using server = await startTestServer(place)
  const { db, blobs } = server.context
  const digest = (await blobs.put('a secret of somebody else')).digest
  await db.write(async (trx) => {
    await trx.insertInto('projects').values({ id: 'PRJ-00000000', slug: 'demo', name: 'Demo', settings: '{}', created_at: 1 }).execute()
    await trx.insertInto('repositories').values({ id: 'REP-00000000', project_id: 'PRJ-00000000', slug: 'app', default_branch: 'main', origin: null, created_at: 1 }).execute()
    await trx.insertInto('tickets').values({
      id: 'TKT-00000001', project_id: 'PRJ-00000000', repository_id: 'REP-00000000', session_id: null, key: '1', title: 't', description: '', acceptance: '[]', scope: '[]', requirements: '[]', predicted_files: '[]',
      agent_name: 'a', state: 'in_review', hold_reason: null, priority: 0, wave: 0, story_points: 1, fence: 1, attempt_count: 1, failure_counts: '{}', retry_at: null, branch: 'swarm/TKT-00000001', head_sha: null,
      next_base_sha: null, next_start_sha: null, evidence: '[]', ready_at: 1, created_at: 1, updated_at: 1,
    }).execute()
    await trx.insertInto('changes').values({
      id: 'CHG-00000001', project_id: 'PRJ-00000000', repository_id: 'REP-00000000', ticket_id: 'TKT-00000001', branch: 'swarm/TKT-00000001', title: 't', body: '', state: 'open',
      base_sha: 'a'.repeat(40), head_sha: 'b'.repeat(40), merged_sha: null, evidence: '{}', created_at: 1, updated_at: 1,
    }).execute()
    await trx.insertInto('attempts').values({
      id: 'ATT-00000001', ticket_id: 'TKT-00000001', project_id: 'PRJ-00000000', number: 1, fence: 1, state: 'succeeded', agent_name: 'a', agent_version: 1, runner_id: null, claim_key: null, vm_id: null, correlation_id: 'ATT-00000001',
      base_sha: 'a'.repeat(40), start_sha: 'a'.repeat(40), head_sha: 'b'.repeat(40), wip_sha: null, summary: null, lease_expires_at: null, deadline_at: 1, activity_at: null, status_sequence: 0, stop_code: null, stop_reason: null,
      failure_class: null, failure_reason: null, failure_message: null, evidence: null, gate: null, created_at: 1, ended_at: 2,
    }).execute()
  })
  const attempt = await db.write(async (trx) => (await mintToken(trx, { kind: 'attempt', subjectId: 'ATT-00000001', fence: 1 })).token)
  const [change, blob, recording, exchange] = [{ params: { changeId: 'CHG-00000001' } }, { params: { changeId: 'CHG-00000001', digest } }, { params: { attemptId: 'ATT-00000001' } }, { params: { attemptId: 'ATT-00000001', callId: 'CAL-00000001' } }]
  for (const [client, status] of [[server.as(), 401], [server.as(attempt), 403]] as const) {
    await expect(client.call(showEvidence, change)).rejects.toMatchObject({ status })
    await expect(client.call(showEvidenceBlob, blob)).rejects.toMatchObject({ status })
    await expect(client.call(listEvidenceKeys)).rejects.toMatchObject({ status })
    await expect(client.call(showRecording, recording)).rejects.toMatchObject({ status })
    await expect(client.call(showRecordedExchange, exchange)).rejects.toMatchObject({ status })
  }
  await expect(server.admin.call(showEvidence, change)).rejects.toMatchObject({ status: 409, code: 'evidence_pending' })
  await expect(server.admin.call(showEvidence, { params: { changeId: 'CHG-NONE' } })).rejects.toMatchObject({ status: 404 })
  await expect(server.admin.call(showEvidenceBlob, blob)).rejects.toMatchObject({ status: 409 })
  await expect(server.admin.call(showRecording, recording)).rejects.toMatchObject({ status: 404, code: 'recording_missing' })
  await expect(server.admin.call(showRecording, { params: { attemptId: 'ATT-NONE' } })).rejects.toMatchObject({ status: 404, code: 'not_found' })
  await expect(server.admin.call(showRecordedExchange, exchange)).rejects.toMatchObject({ status: 404, code: 'not_found' })
  await db.write(async (trx) => { await trx.updateTable('attempts').set({ state: 'running' }).where('id', '=', 'ATT-00000001').execute() })
  await expect(server.admin.call(showRecording, recording)).rejects.toMatchObject({ code: 'recording_missing', message: expect.stringContaining('still runs') as string })

  const { items } = await server.admin.call(listEvidenceKeys)
  expect(items).toMatchObject([{ current: true }])
  expect(readPublicKey(items[0]?.publicKey ?? '', 'the server').asymmetricKeyType).toBe('ed25519')
  const secret = readFileSync(join(place.home, 'keys', 'evidence.ed25519'), 'utf8').split('\n')[1] ?? ''
  expect(secret.length).toBeGreaterThan(40)
  expect(JSON.stringify(server.log)).not.toContain(secret)
})
