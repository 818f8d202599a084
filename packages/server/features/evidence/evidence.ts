import { randomUUID } from 'node:crypto'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { blobsOf, EvidenceStatement } from '@swarm/contract/evidence.ts'
import { readEnvelope, sealStatement } from '@swarm/contract/evidence-envelope.ts'
import { listEvidenceKeys, showEvidence, showEvidenceBlob } from '@swarm/contract/endpoints/evidence.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { BlobStore } from '../../blobs.ts'
import type { Duty } from '../../coordinator/duty.ts'
import type { Database } from '../../db/database.ts'
import { appendEvents } from '../../events/events.ts'
import { register, type HttpTarget } from '../../http/register.ts'
import type { SigningKey } from './keys.ts'
import { addBundle, bundleOf, changeById, evidenceKeys, ticketsCalling, unsealedChanges, type ChangeRow } from './queries.ts'
import { collectStatement, type StatementDependencies } from './statement.ts'

export interface EvidenceDependencies extends Omit<StatementDependencies, 'read'> {
  readonly db: Database
  readonly blobs: BlobStore
  readonly key: SigningKey
  /** SWARM_HOME. */
  readonly home: string
}

/** Looked at in one round; those that rest or wait for a model call are among them. */
const BATCH = 500
/** Once everything was sealed, only what was merged in the last hour is looked for: more than clocks of replicas differ. */
const LOOK_BACK_MS = 60 * 60_000
/** A change whose evidence could not be made is tried again after this many ms, doubled up to the most. */
const FIRST_REST_MS = 1_000
const MOST_REST_MS = 10 * 60_000

/** Evidence of merged changes: registers its routes; the coordinator runs the duty that seals. */
export function createEvidence(http: HttpTarget, deps: EvidenceDependencies): { readonly duty: Duty } {
  const { db, blobs } = deps
  const find = async (id: string): Promise<{ change: ChangeRow; bundle: string; digest: string }> => {
    const change = await changeById(db.read, id)
    if (!change) throw new DomainError('not_found', { kind: 'change', id })
    const row = await bundleOf(db.read, change.id)
    if (!row) throw new DomainError('evidence_pending', { changeId: change.id, state: change.state })
    return { change, bundle: (await blobs.get(row.digest)).toString('utf8'), digest: row.digest }
  }

  register(http, showEvidence, async ({ params }) => {
    const { change, bundle, digest } = await find(params.changeId)
    return { changeId: change.id, digest, bundle }
  })
  register(http, showEvidenceBlob, async ({ params }) => {
    const { bundle } = await find(params.changeId)
    const { envelope } = readEnvelope(Buffer.from(bundle))
    const statement = EvidenceStatement.parse(JSON.parse(Buffer.from(envelope.payload, 'base64').toString('utf8')))
    // What a bundle names may be read by whoever may read the bundle; nothing else is served here.
    if (!blobsOf(statement).includes(params.digest)) throw new DomainError('blob_not_found', { digest: params.digest })
    return { digest: params.digest, content: (await blobs.get(params.digest)).toString('base64') }
  })
  register(http, listEvidenceKeys, async () => ({
    items: (await evidenceKeys(db.read)).map((row) => ({ id: row.id, publicKey: row.public_key, current: row.id === deps.key.id, createdAt: row.created_at })),
  }))
  return { duty: sealingDuty(deps) }
}

/**
 * One bundle for each merged change, made after the merge was recorded. Safe to stop at any line and to run on every replica:
 * blobs are addressed by their content, and the row is inserted once together with its event.
 */
function sealingDuty(deps: EvidenceDependencies): Duty {
  const resting = new Map<string, { until: number; failures: number }>()
  /** Everything that was merged before is sealed; a new process looks at all of it once. */
  let since = 0
  return {
    name: 'evidence',
    async run(stop) {
      let sealed = false
      const errors: unknown[] = []
      const unsealed = await unsealedChanges(deps.db.read, since, BATCH)
      since = Math.max(since, unsealed[0]?.updated_at ?? deps.now() - LOOK_BACK_MS)
      const calling = await ticketsCalling(deps.db.read, unsealed.map((change) => change.ticket_id))
      for (const change of unsealed) {
        stop.throwIfAborted()
        const rest = resting.get(change.id)
        if (calling.has(change.ticket_id) || (rest && rest.until > deps.now())) continue
        try {
          await seal(deps, change)
          resting.delete(change.id)
          sealed = true
        } catch (error) {
          stop.throwIfAborted()
          const failures = (rest?.failures ?? 0) + 1
          resting.set(change.id, { failures, until: deps.now() + Math.min(MOST_REST_MS, FIRST_REST_MS * 2 ** failures) })
          errors.push(new Error(`the evidence of ${change.id} cannot be sealed: ${error instanceof Error ? error.message : String(error)}`, { cause: error }))
        }
      }
      if (errors.length > 0) throw errors.length === 1 ? errors[0] : new AggregateError(errors, `${errors.length} bundles cannot be sealed`)
      return sealed
    },
    nextAt: async () => (resting.size === 0 ? null : Math.min(...[...resting.values()].map(({ until }) => until))),
  }
}

async function seal(deps: EvidenceDependencies, change: ChangeRow): Promise<void> {
  const { db, blobs, key } = deps
  const { statement, contents } = await collectStatement({ ...deps, read: db.read }, change)
  // What the bundle names is kept before the bundle, and the bundle before the row that names it.
  for (const content of new Set(contents)) await blobs.put(content)
  const bundle = sealStatement(statement, key.key)
  const { digest } = await blobs.put(bundle)
  const file = await keepFile(deps.home, change.id, bundle)
  const { predicate } = statement
  const first = await db.write(async (trx) => {
    if (!await addBundle(trx, { change_id: change.id, project_id: change.project_id, digest, key_id: key.id, sealed_at: predicate.sealedAt })) return false
    await appendEvents(trx, [{
      type: 'evidence:sealed', projectId: change.project_id, subject: { kind: 'change', id: change.id }, correlationId: predicate.attempts.findLast(({ state }) => state === 'succeeded')?.id ?? change.id,
      data: { ticketId: change.ticket_id, digest, keyId: key.id, sealedAt: predicate.sealedAt, mergedSha: predicate.commits.merged, rehearsal: predicate.model.rehearsal },
    }])
    return true
  })
  // Another replica, with a home and a key of its own, was first: there is one bundle, and it is that one.
  if (!first && (await bundleOf(db.read, change.id))?.digest !== digest) await rm(file, { force: true })
}

/** The bundle as a file of the home, readable when nothing runs; before the row, so that every recorded bundle of this home has one. */
async function keepFile(home: string, changeId: string, bundle: string): Promise<string> {
  const folder = join(home, 'evidence')
  const path = join(folder, `${changeId}.json`)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const temporary = `${path}.${randomUUID()}.new`
  const handle = await open(temporary, 'wx', 0o600)
  try {
    await handle.writeFile(bundle)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(temporary, path)
  return path
}
