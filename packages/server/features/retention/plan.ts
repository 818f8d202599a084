import { git } from '@swarm/git/run.ts'
import type { BlobStore } from '../../blobs.ts'
import type { Read } from '../../db/database.ts'
import { attemptsLongOver, checksLongOver, neededDigests, repositoriesAndProjects } from './queries.ts'

/** Limits of what is kept; 0 = for ever, without a limit. */
export interface RetentionRules { readonly blobDays: number; readonly blobMb: number; readonly refDays: number }

export interface OldBlob { readonly digest: string; readonly sizeBytes: number }
export interface OldRef { readonly ref: string; readonly sha: string }
export interface OldRefs { readonly repositoryId: string; readonly projectId: string; readonly name: string; readonly path: string; readonly refs: readonly OldRef[] }
/** What may go now. `blobsBefore`: a blob that was kept again since this moment stays. */
export interface RetentionPlan { readonly blobs: readonly OldBlob[]; readonly blobsBefore: number; readonly refs: readonly OldRefs[] }

export interface PlanDependencies {
  readonly read: Read
  readonly blobs: BlobStore
  readonly now: () => number
  readonly pathOf: (repository: { projectSlug: string; slug: string }) => string
}

const DAY_MS = 24 * 60 * 60 * 1000
const REFS = /^([0-9a-f]+) (refs\/swarm\/(attempts|checks)\/([^/]+)(?:\/.*)?)$/

/**
 * Finds what is older than the rules say and needed by nothing: blobs that only ended work names, oldest first, and refs of attempts
 * and check runs of tickets that are long done or cancelled. Looks only; changes nothing.
 */
export async function planRetention(deps: PlanDependencies, rules: RetentionRules): Promise<RetentionPlan> {
  const now = deps.now()
  const refs: OldRefs[] = []
  if (rules.refDays > 0) {
    const before = now - rules.refDays * DAY_MS
    for (const repository of await repositoriesAndProjects(deps.read)) {
      const over = { attempts: await attemptsLongOver(deps.read, repository.id, before), checks: await checksLongOver(deps.read, repository.id, before) }
      if (over.attempts.size + over.checks.size === 0) continue
      const path = deps.pathOf(repository)
      const { stdout } = await git(path, ['for-each-ref', '--format=%(objectname) %(refname)', 'refs/swarm/attempts', 'refs/swarm/checks'])
      const old = stdout.split('\n').flatMap((line) => {
        const [, sha = '', ref = '', kind, id = ''] = REFS.exec(line) ?? []
        return kind !== undefined && over[kind as keyof typeof over].has(id) ? [{ ref, sha }] : []
      })
      if (old.length > 0) refs.push({ repositoryId: repository.id, projectId: repository.projectId, name: `${repository.projectSlug}/${repository.slug}`, path, refs: old })
    }
  }
  return { refs, ...await planBlobs(deps, rules, now) }
}

async function planBlobs(deps: PlanDependencies, rules: RetentionRules, now: number): Promise<Pick<RetentionPlan, 'blobs' | 'blobsBefore'>> {
  // A blob is kept before the row that names it: what is younger than a day may be about to be named.
  const blobsBefore = now - DAY_MS
  if (rules.blobDays === 0 && rules.blobMb === 0) return { blobs: [], blobsBefore }
  const oldBefore = rules.blobDays === 0 ? 0 : now - rules.blobDays * DAY_MS
  const kept = []
  let totalBytes = 0
  for await (const blob of deps.blobs.list()) {
    totalBytes += blob.sizeBytes
    if (blob.keptAt < blobsBefore) kept.push(blob)
  }
  kept.sort((a, b) => a.keptAt - b.keptAt || (a.digest < b.digest ? -1 : 1))
  const limitBytes = rules.blobMb === 0 ? Number.POSITIVE_INFINITY : rules.blobMb * 1024 ** 2
  const tooMuch = totalBytes > limitBytes
  if (!tooMuch && !kept.some(({ keptAt }) => keptAt < oldBefore)) return { blobs: [], blobsBefore }
  // By age, calls that are younger than the limit keep their blobs; by size, only work that is not over does.
  const needed = await neededDigests(deps.read, tooMuch ? blobsBefore : oldBefore)
  const neededByAge = tooMuch && oldBefore > 0 ? await neededDigests(deps.read, oldBefore) : needed
  const blobs: OldBlob[] = []
  for (const { digest, sizeBytes, keptAt } of kept) {
    const old = keptAt < oldBefore && !neededByAge.has(digest)
    if (!old && (totalBytes <= limitBytes || needed.has(digest))) continue
    blobs.push({ digest, sizeBytes })
    totalBytes -= sizeBytes
  }
  return { blobs, blobsBefore }
}
