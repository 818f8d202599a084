import { git } from '@swarm/git/run.ts'
import type { BlobStore } from '../../blobs.ts'
import type { Database } from '../../db/database.ts'
import { appendEvents } from '../../events/events.ts'
import type { RetentionPlan } from './plan.ts'

/** Removed at once: a stop costs at most the record of so many. */
const BLOBS_AT_ONCE = 500
const REFS_AT_ONCE = 200
/** git's own margin for objects that a push or a merge is about to name. */
const LEAST_PRUNE_DAYS = 14

export interface RemoveDependencies { readonly db: Database; readonly blobs: BlobStore; readonly refDays: number }
export interface Removed { readonly blobs: number; readonly refs: number; readonly bytes: number }

/**
 * Carries out a plan in small pieces, each recorded as an event before it is done, so that no absence is without an explanation.
 * A ref goes only if it is where it was, a blob only if nobody kept it again meanwhile. Yields after each piece.
 */
export async function* removePlanned(deps: RemoveDependencies, plan: RetentionPlan, signal: AbortSignal): AsyncGenerator<Removed> {
  for (const { repositoryId, projectId, path, refs } of plan.refs) {
    for (let at = 0; at < refs.length; at += REFS_AT_ONCE) {
      signal.throwIfAborted()
      const piece = refs.slice(at, at + REFS_AT_ONCE)
      await record(deps.db, { projectId, subject: { kind: 'repository', id: repositoryId }, data: { what: 'refs', count: piece.length, refs: piece.map(({ ref, sha }) => ({ ref, sha })) } })
      let gone = 0
      for (const { ref, sha } of piece) {
        // 1: it moved, so somebody works on it after all.
        const { code } = await git(path, ['update-ref', '-d', ref, sha], { okCodes: [0, 1, 128] })
        if (code === 0) gone++
      }
      yield { blobs: 0, refs: gone, bytes: 0 }
    }
    await collectGarbage(path, deps.refDays, signal)
  }
  for (let at = 0; at < plan.blobs.length; at += BLOBS_AT_ONCE) {
    signal.throwIfAborted()
    const piece = plan.blobs.slice(at, at + BLOBS_AT_ONCE)
    await record(deps.db, { projectId: null, subject: { kind: 'retention', id: 'blobs' }, data: { what: 'blobs', count: piece.length, bytes: piece.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) } })
    let [gone, bytes] = [0, 0]
    for (const { digest, sizeBytes } of piece) {
      if (!await deps.blobs.deleteOlder(digest, plan.blobsBefore)) continue
      gone++
      bytes += sizeBytes
    }
    yield { blobs: gone, refs: 0, bytes }
  }
}

async function record(db: Database, event: { projectId: string | null; subject: { kind: string; id: string }; data: Record<string, unknown> }): Promise<void> {
  await db.write((trx) => appendEvents(trx, [{ type: 'retention:removed', ...event }]))
}

/** Frees what no ref and no reflog names any more. Reflogs stay: they say what main ever was. */
async function collectGarbage(path: string, refDays: number, signal: AbortSignal): Promise<void> {
  await git(path, [
    '-c', 'gc.reflogExpire=never', '-c', 'gc.reflogExpireUnreachable=never', '-c', 'gc.packRefs=false', 'gc', '--quiet', `--prune=${Math.max(LEAST_PRUNE_DAYS, refDays)}.days.ago`,
  ], { signal })
}
