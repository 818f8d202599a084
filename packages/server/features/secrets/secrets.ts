import * as endpoints from '@swarm/contract/endpoints/secrets.ts'
import { workSecrets, type Work, type WorkKey } from '@swarm/contract/runner-protocol.ts'
import type { Kysely } from 'kysely'
import type { Resource } from '../../authorization/resources.ts'
import type { Context } from '../../context.ts'
import type { Schema } from '../../db/schema.ts'
import type { Trx } from '../../db/unit.ts'
import { register, type Call } from '../../http/register.ts'
import type { WorkSource } from '../../ports.ts'
import { createKeyRing, keySourceOf } from './keys.ts'
import { keyIdsInUse } from './queries.ts'
import { hasSecrets, listed, noteUses, remove, rotateKeys, secretsFor, set, shown, type Act, type Place, type SecretsDependencies } from './service.ts'

export interface Secrets {
  /** The same work, which says whether there are secrets for it. */
  announced<W extends Work, S extends WorkSource<W>>(source: S & WorkSource<W>): S
  /** Takes note that these secrets of this project went out with a request. */
  noteUses(trx: Trx, projectId: string, ids: readonly string[]): Promise<void>
}

/** The store of secrets: routes for people, and what runners get of it for the work that they hold. */
export async function createSecrets(context: Context, given: Pick<SecretsDependencies, 'project' | 'organizationOf' | 'mayUse'> & {
  /** Project of work that this runner holds under this fence and a lease that is not over. @throws DomainError stale_fence */
  readonly projectOfHeld: (db: Kysely<Schema>, runnerId: string, key: WorkKey) => Promise<string>
}): Promise<Secrets> {
  const { http, db, config, clock, ids, logger } = context
  const deps: SecretsDependencies = { ...given, db, now: clock, makeId: ids, keys: createKeyRing(keySourceOf(config.secrets, config.home)) }
  await ensureKey(deps, (err, what) => { logger.error({ err }, what) })

  const placeOf = (resource: Resource | null): Place => {
    if (resource?.organizationId == null) throw new TypeError('secrets belong to a project or an organisation')
    return { organizationId: resource.organizationId, projectId: resource.projectId }
  }
  const act = ({ principal, correlationId }: Pick<Call<never, never, never>, 'principal' | 'correlationId'>): Act => ({ by: `${principal.kind} ${principal.id}`, correlationId })
  register(http, endpoints.listSecrets, async ({ query, request }) => listed(deps, placeOf(request.resource), query))
  register(http, endpoints.showSecret, async ({ params }) => shown(deps, params.secretId))
  register(http, endpoints.setSecret, async ({ body, ...call }) => set(deps, placeOf(call.request.resource), body, act(call)))
  register(http, endpoints.removeSecret, async ({ params, ...call }) => remove(deps, params.secretId, act(call)))
  register(http, endpoints.rotateSecretKeys, async ({ body, ...call }) => rotateKeys(deps, body, act(call)))
  register(http, workSecrets, async ({ body, principal, reply }) => {
    reply.header('cache-control', 'no-store')
    return { secrets: await secretsFor(deps, await given.projectOfHeld(db.read, principal.id, body), body) }
  })

  return {
    announced: (source) => ({
      ...source,
      describe: async (id: string, fence: number) => {
        const work = await source.describe(id, fence)
        return { ...work, secrets: await hasSecrets(deps, (await deps.project(work.projectSlug)).id) }
      },
    }),
    noteUses: (trx, projectId, secretIds) => noteUses(deps, trx, projectId, secretIds),
  }
}

/**
 * At the first start the key is made, where Swarm keeps it. Where secrets are under a key that is not there, nothing is made: whoever
 * has the key must give it, and the rest of Swarm works meanwhile.
 */
async function ensureKey({ db, keys }: SecretsDependencies, onProblem: (error: unknown, what: string) => void): Promise<void> {
  try {
    const needed = await keyIdsInUse(db.read)
    if (needed.length === 0 && await keys.isEmpty()) await keys.source.make()
    keys.forget()
    await keys.keys(needed)
  } catch (error) {
    onProblem(error, 'the store of secrets has no key: work of projects with secrets fails until it is given')
  }
}
