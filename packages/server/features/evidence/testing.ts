import { join } from 'node:path'
import { unheardRoutes } from '../../http/testing.ts'
import { createBlobFolder } from '../../integrations/blobs-folder.ts'
import { treeOf } from '../../integrations/builtin-code-host/bare.ts'
import type { Database } from '../../db/database.ts'
import { newId } from '../../ids.ts'
import { mergePathOver } from '../changes/testing.ts'
import { readResults } from '../checks/service.ts'
import { createEvidence } from './evidence.ts'
import { ensureSigningKey } from './keys.ts'

/** The merge path with the evidence of what it merges, over a fresh database, real git and a real folder of blobs. */
export async function evidenceOver(db: Database, home: string) {
  const path = await mergePathOver(db, home, 'checks: { test: "test -f README.md" }\n')
  const blobs = await createBlobFolder(join(home, 'blobs'))
  const make = async (over: { home?: string; blobs?: typeof blobs } = {}) => {
    const place = over.home ?? home
    return createEvidence(unheardRoutes(db), {
      db, blobs: over.blobs ?? blobs, home: place, now: () => path.clock.now++, version: '0.0.0', key: await ensureSigningKey(db, place, 1), treeOf, readResults,
      project: async (id) => ({ id, slug: 'p' }), repository: async (id) => { const found = await path.repositories.find(id); return { id, slug: 'r', path: path.path, defaultBranch: found.default_branch } },
    }).duty
  }
  return {
    path, blobs, make,
    /** A ticket's change, approved and merged, with two settled model calls of its attempt whose bodies are kept. Returns the change's id. */
    async merged(name: string): Promise<string> {
      const ticket = await path.inReview(name, { [`${name}.txt`]: 'one\n' })
      const attempt = await db.read.selectFrom('attempts').select('id').where('ticket_id', '=', ticket).executeTakeFirstOrThrow()
      for (const turn of [1, 2]) await call({ attempt: attempt.id, ticket, turn })
      await path.decide(ticket, 'approved', '', true)
      await path.drain()
      return (await path.change(ticket)).id
    },
    call,
    rows: () => db.read.selectFrom('evidence_bundles').selectAll().execute(),
    sealedEvents: async () => (await db.read.selectFrom('events').select(['subject_id', 'data']).where('type', '=', 'evidence:sealed').execute()),
  }

  async function call(about: { attempt: string; ticket: string; turn: number; state?: 'open' | 'settled' }): Promise<string> {
    const id = newId('call')
    const [request, response] = [await blobs.put(`{"turn":${about.turn}}`), await blobs.put(`event: message_stop ${about.turn}\n`)]
    await db.write(async (trx) => {
      await trx.insertInto('model_calls').values({
        id, project_id: path.projectId, session_id: null, ticket_id: about.ticket, attempt_id: about.attempt, role: 'developer', step: null, provider: 'rehearsal', model: 'claude-test', state: about.state ?? 'settled',
        estimated: 0, reserved_micro_usd: 100, reserved_tokens: 10, tokens: about.state === 'open' ? null : 2, ceiling: null, approval_id: null, cost_micro_usd: about.state === 'open' ? null : 40, input_tokens: 1, output_tokens: 1, cache_read_tokens: 0, cache_write_tokens: 0, status: 200, tries: 1,
        request_digest: request.digest, response_digest: response.digest, correlation_id: about.attempt, owner: 'test', created_at: about.turn, ended_at: about.turn,
      }).execute()
    })
    return id
  }
}
