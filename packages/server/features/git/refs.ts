import { DomainError } from '@swarm/core/errors.ts'
import { isPerson } from '../../authorization/rights.ts'
import type { Read } from '../../db/database.ts'
import type { Principal } from '../../http/tokens.ts'

/** What one caller may see and write in one repository: ref prefixes without a trailing slash. */
export interface RefRules {
  readonly fetch: readonly string[]
  /** Null: may not push at all. */
  readonly push: string | null
}

/**
 * The rules of a caller, read from the database at this moment: an attempt only while it runs and its fence is the current
 * one, a check only while it runs. Errors: `stale_fence`, `wrong_caller`, `not_found` (work of another repository).
 */
export async function refRules(db: Read, principal: Principal, repositoryId: string, now: number): Promise<RefRules> {
  // What a person may fetch from is asked before, of the policies.
  if (isPerson(principal)) return { fetch: ['refs'], push: null }
  if (principal.kind === 'attempt') {
    const attempt = await db.selectFrom('attempts').innerJoin('tickets', 'tickets.id', 'attempts.ticket_id').where('attempts.id', '=', principal.id)
      .select(['attempts.id', 'attempts.state', 'attempts.fence', 'attempts.lease_expires_at', 'tickets.repository_id', 'tickets.fence as current_fence']).executeTakeFirst()
    // Another repository does not exist for this caller.
    if (!attempt || attempt.repository_id !== repositoryId) throw new DomainError('not_found', { kind: 'repository', id: repositoryId })
    const current = attempt.state === 'running' && attempt.fence === principal.fence && attempt.current_fence === principal.fence && (attempt.lease_expires_at ?? 0) > now
    if (!current) throw new DomainError('stale_fence', { attemptId: attempt.id, fence: principal.fence ?? 'none' })
    const own = `refs/swarm/attempts/${attempt.id}`
    return { fetch: ['refs/heads', own], push: own }
  }
  if (principal.kind === 'check') {
    const check = await db.selectFrom('check_runs').where('id', '=', principal.id).select(['id', 'state', 'fence', 'repository_id', 'lease_expires_at']).executeTakeFirst()
    if (!check || check.repository_id !== repositoryId) throw new DomainError('not_found', { kind: 'repository', id: repositoryId })
    if (check.state !== 'running' || check.fence !== principal.fence || (check.lease_expires_at ?? 0) <= now) throw new DomainError('stale_fence', { attemptId: check.id, fence: principal.fence ?? 'none' })
    return { fetch: ['refs/heads', `refs/swarm/checks/${check.id}`], push: null }
  }
  throw new DomainError('wrong_caller', { kind: principal.kind, needed: 'person, attempt or check' })
}

/**
 * The rules as git's own settings, given to the one process that serves the request. Later patterns win over earlier ones
 * and over the repository's file. A hidden ref is neither listed nor written, and (protocol v0) its commits are not served.
 */
export function refSettings(service: 'upload-pack' | 'receive-pack', rules: RefRules, maxPushBytes: number): string[] {
  const section = service === 'upload-pack' ? 'uploadpack' : 'receive'
  const shown = service === 'upload-pack' ? rules.fetch : rules.push === null ? [] : [rules.push]
  const settings = [`${section}.hideRefs=refs`, ...shown.map((prefix) => `${section}.hideRefs=!${prefix}`)]
  if (service === 'upload-pack') {
    settings.push('uploadpack.allowTipSHA1InWant=false', 'uploadpack.allowReachableSHA1InWant=false', 'uploadpack.allowAnySHA1InWant=false', 'uploadpack.allowFilter=false')
  } else {
    settings.push(
      'receive.fsckObjects=true', `receive.maxInputSize=${maxPushBytes}`, 'receive.autogc=false', 'receive.denyDeletes=true',
      'receive.denyNonFastForwards=false', 'receive.advertisePushOptions=false', 'receive.updateServerInfo=false', 'receive.shallowUpdate=false', 'core.logAllRefUpdates=always',
    )
  }
  return settings.flatMap((setting) => ['-c', setting])
}
