import type { SecretAbout, setSecret } from '@swarm/contract/endpoints/secrets.ts'
import { Injection } from '@swarm/contract/injection.ts'
import type { BoundSecret } from '@swarm/contract/runner-protocol.ts'
import type { WorkKey } from '@swarm/contract/runner-protocol.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { IdKind } from '@swarm/core/ids.ts'
import { Secret } from '@swarm/core/secret.ts'
import { headerOf } from '@swarm/core/secrets/injection.ts'
import type { Kysely } from 'kysely'
import type { z } from 'zod'
import type { Database } from '../../db/database.ts'
import { fromJson, json } from '../../db/json.ts'
import type { Schema } from '../../db/schema.ts'
import type { Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import { open, rewrap, seal, type About, type Envelope, type WrappingKey } from './envelope.ts'
import type { KeyRing } from './keys.ts'
import { anySecretOf, deleteSecret, hostsOf, keyIdsInUse, lockedSecret, markUsed, moveKey, putSecret, secretById, secretPage, secretsOf, secretsUnderOtherKeys, takenBinding, type SecretRow } from './queries.ts'

/** When a secret was last used is kept to this, ms: a write for every request would cost more than it says. */
const USE_MS = 60_000
/** Secrets that one unit brings under another key. */
const REWRAP_BATCH = 100

export interface SecretsDependencies {
  readonly db: Database
  readonly now: () => number
  readonly makeId: (kind: IdKind) => string
  readonly keys: KeyRing
  /** By id or slug. @throws DomainError not_found */
  readonly project: (name: string) => Promise<{ readonly id: string }>
  /** Whose a project is. */
  /** Of these secrets those that policies let the agent of this work use. */
  readonly mayUse: <T extends { readonly id: string; readonly name: string }>(key: WorkKey, projectId: string, secrets: readonly T[]) => Promise<T[]>
  readonly organizationOf: (db: Kysely<Schema>, projectId: string) => Promise<string>
}

/** Who does something, and in which request. */
export interface Act { readonly by: string; readonly correlationId: string }

const scopeOfProject = (projectId: string): string => `project:${projectId}`
const scopeOfOrganization = (organizationId: string): string => `organization:${organizationId}`

/** Where the secrets of a project's microVMs are: its own first. */
async function scopesOf(deps: Pick<SecretsDependencies, 'organizationOf'>, db: Kysely<Schema>, projectId: string): Promise<string[]> {
  return [scopeOfProject(projectId), scopeOfOrganization(await deps.organizationOf(db, projectId))]
}

const aboutOf = ({ id, scope, version }: SecretRow): About => ({ id, scope, version })
const envelopeOf = (row: SecretRow): Envelope => ({ sealed: row.sealed, wrappedKey: row.wrapped_key, keyId: row.key_id })

/** What the envelope of a row gives. @throws DomainError secret_damaged */
function opened<T>(row: SecretRow, use: (envelope: Envelope, about: About) => T): T {
  try {
    return use(envelopeOf(row), aboutOf(row))
  } catch (error) {
    throw new DomainError('secret_damaged', { id: row.id }, { cause: error })
  }
}

function requiredKey(byId: ReadonlyMap<string, WrappingKey>, id: string): WrappingKey {
  const key = byId.get(id)
  if (key === undefined) throw new Error(`the key ${id} was asked for and is not there`)
  return key
}

function present(row: SecretRow, hosts: readonly string[]): SecretAbout {
  return {
    id: row.id, name: row.name, projectId: row.project_id, organizationId: row.organization_id, hosts: [...hosts], injection: fromJson(Injection, row.injection), version: row.version,
    createdAt: row.created_at, createdBy: row.created_by, updatedAt: row.updated_at, updatedBy: row.updated_by, lastUsedAt: row.last_used_at,
  }
}

/** Whose secrets: a project's, with its organisation's; or all of an organisation. */
export interface Place { readonly organizationId: string; readonly projectId: string | null }

export async function listed(deps: SecretsDependencies, place: Place, query: { cursor?: string | undefined; limit: number }): Promise<{ items: SecretAbout[]; nextCursor: string | null }> {
  const { read } = deps.db
  const rows = await secretPage(read, place.projectId === null ? { organizationId: place.organizationId } : { scopes: await scopesOf(deps, read, place.projectId) }, query.cursor ?? '', query.limit + 1)
  const page = rows.slice(0, query.limit)
  const hosts = await hostsOf(read, page.map((row) => row.id))
  return { items: page.map((row) => present(row, hosts.get(row.id) ?? [])), nextCursor: rows.length > query.limit ? page.at(-1)!.id : null }
}

/** @throws DomainError not_found */
export async function shown(deps: SecretsDependencies, id: string): Promise<SecretAbout> {
  const row = await secretById(deps.db.read, id)
  if (!row) throw new DomainError('not_found', { kind: 'secret', id })
  return present(row, (await hostsOf(deps.db.read, [id])).get(id) ?? [])
}

/**
 * Keeps a secret, or a new version of the one of this name; the old value is overwritten.
 * @throws DomainError secret_binding_taken, not_found of the project; secret_key_unknown while any secret is under a key that is not
 *   given: what is sealed under a wrong key now could not be opened when the right one is back
 */
export async function set(deps: SecretsDependencies, { organizationId, projectId }: Place, input: z.output<NonNullable<typeof setSecret.body>>, { by, correlationId }: Act): Promise<SecretAbout> {
  const { db } = deps
  const value = new Secret(input.value)
  const hosts = [...new Set(input.hosts)].sort()
  const header = headerOf(input.injection)
  const { first } = await deps.keys.keys(await keyIdsInUse(db.read))
  return db.write(async (trx) => {
    const scope = projectId === null ? scopeOfOrganization(organizationId) : scopeOfProject(projectId)
    const now = deps.now()
    const look = async () => {
      const before = await lockedSecret(trx, scope, input.name)
      const about = { id: before?.id ?? deps.makeId('secret'), scope, version: (before?.version ?? 0) + 1 }
      return { before, about, taken: await takenBinding(trx, { ...about, header, hosts }) }
    }
    const seen = await look()
    // Of the same name: somebody has just made this very secret, which is there now to be set anew.
    const { before, about, taken } = seen.taken?.name === input.name ? await look() : seen
    if (taken) throw new DomainError('secret_binding_taken', { ...taken, header })
    const { sealed, wrappedKey, keyId } = seal(value, about, first)
    const row: SecretRow = {
      ...about, organization_id: organizationId, project_id: projectId, name: input.name, injection: json(Injection.parse(input.injection)), sealed, wrapped_key: wrappedKey, key_id: keyId,
      created_at: before?.created_at ?? now, created_by: before?.created_by ?? by, updated_at: now, updated_by: by, last_used_at: before?.last_used_at ?? null,
    }
    await putSecret(trx, row, header, hosts)
    await appendEvents(trx, [{ type: 'secret:set', projectId, subject: { kind: 'secret', id: row.id }, correlationId, data: { name: row.name, version: row.version, hosts, header, by } }])
    return present(row, hosts)
  })
}

/** @throws DomainError not_found */
export async function remove(deps: SecretsDependencies, id: string, { by, correlationId }: Act): Promise<void> {
  await deps.db.write(async (trx) => {
    const row = await secretById(trx, id)
    if (!row || !await deleteSecret(trx, id)) throw new DomainError('not_found', { kind: 'secret', id })
    await appendEvents(trx, [{ type: 'secret:removed', projectId: row.project_id, subject: { kind: 'secret', id }, correlationId, data: { name: row.name, version: row.version, by } }])
  })
}

/**
 * Brings every secret under the first key, a batch a unit: cut off anywhere, what is done is done and the next call does the rest.
 * @throws DomainError secret_key_elsewhere when a new key is asked for that Swarm cannot make; secret_key_unknown
 */
export async function rotateKeys(deps: SecretsDependencies, input: { newKey: boolean }, { by, correlationId }: Act): Promise<{ keyId: string; rewrapped: number; unneededKeyIds: string[] }> {
  const { db, keys } = deps
  // What was put first since the last call counts.
  keys.forget()
  const { first: before } = await keys.keys(await keyIdsInUse(db.read))
  // A rotation that was cut off is ended, not begun once more.
  if (input.newKey && (await secretsUnderOtherKeys(db.read, before.id, 1)).length === 0) {
    await keys.source.make()
    keys.forget()
  }
  const { first } = await keys.keys([])
  let rewrapped = 0
  for (;;) {
    const rows = await secretsUnderOtherKeys(db.read, first.id, REWRAP_BATCH)
    if (rows.length === 0) break
    const { byId } = await keys.keys(rows.map((row) => row.key_id))
    const moves = rows.map((row) => ({ row, to: opened(row, (envelope, about) => rewrap(envelope, about, requiredKey(byId, row.key_id), first)) }))
    rewrapped += await db.write(async (trx) => {
      let moved = 0
      // One that has a new value meanwhile is looked at again.
      for (const { row, to } of moves) if (await moveKey(trx, row, { wrapped_key: to.wrappedKey, key_id: to.keyId })) moved++
      await appendEvents(trx, [{ type: 'secrets:rewrapped', projectId: null, subject: { kind: 'secret_key', id: first.id }, correlationId, data: { rewrapped: moved, by } }])
      return moved
    })
  }
  const { byId } = await keys.keys([])
  const needed = await keyIdsInUse(db.read)
  return { keyId: first.id, rewrapped, unneededKeyIds: [...byId.keys()].filter((id) => id !== first.id && !needed.includes(id)) }
}

/**
 * Whether microVMs of this project get secrets. Asked when work is handed out: a key that is missing fails it there, with that reason.
 * @throws DomainError secret_key_unknown, secret_key_invalid
 */
export async function hasSecrets(deps: SecretsDependencies, projectId: string): Promise<boolean> {
  const { read } = deps.db
  const scopes = await scopesOf(deps, read, projectId)
  if (!await anySecretOf(read, scopes)) return false
  await deps.keys.keys((await secretsOf(read, scopes)).map((row) => row.key_id))
  return true
}

/** The secrets of a project's microVMs, opened. For a header of a host that both have, the project's goes before its organisation's. */
export async function secretsFor(deps: SecretsDependencies, projectId: string, key: WorkKey): Promise<BoundSecret[]> {
  const { read } = deps.db
  const scopes = await scopesOf(deps, read, projectId)
  const rows = [...await deps.mayUse(key, projectId, await secretsOf(read, scopes))].sort((a, b) => scopes.indexOf(a.scope) - scopes.indexOf(b.scope))
  const { byId } = await deps.keys.keys(rows.map((row) => row.key_id))
  const hosts = await hostsOf(read, rows.map((row) => row.id))
  const taken = new Set<string>()
  return rows.flatMap((row) => {
    const injection = fromJson(Injection, row.injection)
    const binding = (host: string): string => `${host} ${headerOf(injection)}`
    const own = (hosts.get(row.id) ?? []).filter((host) => !taken.has(binding(host)))
    for (const host of own) taken.add(binding(host))
    if (own.length === 0) return []
    return [{ id: row.id, hosts: own, injection, value: opened(row, (envelope, about) => open(envelope, about, requiredKey(byId, row.key_id))).reveal() }]
  })
}

/** Takes note that these secrets of this project went out with a request. */
export async function noteUses(deps: SecretsDependencies, trx: Trx, projectId: string, ids: readonly string[]): Promise<void> {
  const now = deps.now()
  await markUsed(trx, ids, await scopesOf(deps, trx, projectId), now, now - USE_MS)
}
