import type { Spec } from '@swarm/core/design/spec.ts'
import type { SpecCard } from '@swarm/core/design/card.ts'
import { fromJson, json } from '../../db/json.ts'
import type { Trx } from '../../db/unit.ts'
import { insertSpecVersion, type SessionRow, specVersion, type SpecVersionRow } from './queries.ts'
import { digestOf, StoredSpec } from './stored.ts'

/** A version that a session names is there: they are written in one transaction. */
export async function requireVersion(db: Parameters<typeof specVersion>[0], session: Pick<SessionRow, 'id'>, version: number): Promise<{ row: SpecVersionRow; stored: StoredSpec }> {
  const row = await specVersion(db, session.id, version)
  if (!row) throw new Error(`session ${session.id} has no spec version ${version}`)
  return { row, stored: fromJson(StoredSpec, row.parsed) }
}

/** Writes a version; the caller moves the session to it in the same unit. */
export async function addVersion(trx: Trx, input: {
  sessionId: string; version: number; markdown: string; spec: Spec | StoredSpec['spec']; revisions: readonly string[]; author: string; reason: string; card?: SpecCard; now: number
}): Promise<void> {
  const stored: StoredSpec = StoredSpec.parse({ spec: input.spec, revisions: input.revisions })
  await insertSpecVersion(trx, {
    session_id: input.sessionId, version: input.version, markdown: input.markdown, parsed: json(stored), hash: digestOf({ markdown: input.markdown, revisions: stored.revisions }),
    author: input.author, reason: input.reason, card: input.card === undefined ? null : json(input.card), created_at: input.now,
  })
}
