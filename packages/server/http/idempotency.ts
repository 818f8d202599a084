import { createHash } from 'node:crypto'
import { canonicalJson } from '@swarm/core/approvals/approval.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { isPerson } from '../authorization/rights.ts'
import type { Database } from '../db/database.ts'

/*
 * `Idempotency-Key` on a POST of a person (as in draft-ietf-httpapi-idempotency-key-header): the first request with a key is
 * carried out, the same one again is answered with what the first one was answered. The key is taken before anything is done,
 * so that a request is carried out once at most, even when the server is killed in its middle: its repetition is then told
 * that nobody knows how it ended.
 */

const KEY = /^[\x21-\x7e]{1,200}$/
/** Keys are kept for so long, ms. */
const KEPT_MS = 24 * 3_600_000

/** What this request took, until it is answered. */
const taken = new WeakMap<FastifyRequest, { principal: string; key: string; once: boolean }>()

export function addIdempotency(app: FastifyInstance, db: Database): void {
  app.addHook('preHandler', async (request, reply) => {
    const key = request.headers['idempotency-key']
    if (key === undefined || request.method !== 'POST' || !isPerson(request.principal)) return
    if (typeof key !== 'string' || !KEY.test(key)) throw new DomainError('invalid_input', { field: 'the header idempotency-key', problem: 'it must be 1 to 200 visible characters' })
    const principal = `${request.principal.kind} ${request.principal.id}`
    const digest = createHash('sha256').update(canonicalJson({ path: request.url, body: request.body ?? null })).digest('hex')
    const now = Date.now()
    const known = await db.write(async (trx) => {
      await trx.deleteFrom('idempotency_keys').where('created_at', '<', now - KEPT_MS).execute()
      const made = await trx.insertInto('idempotency_keys').values({ principal, key, request_digest: digest, status: null, answer: null, created_at: now })
        .onConflict((conflict) => conflict.columns(['principal', 'key']).doNothing()).executeTakeFirstOrThrow()
      return made.numInsertedOrUpdatedRows === 1n ? null : trx.selectFrom('idempotency_keys').selectAll().where('principal', '=', principal).where('key', '=', key).executeTakeFirstOrThrow()
    })
    if (known === null) {
      taken.set(request, { principal, key, once: request.routeOptions.config.shownOnce === true })
      return
    }
    if (known.request_digest !== digest) throw new DomainError('idempotency_mismatch', { key })
    if (known.status === null) throw new DomainError('idempotency_unknown', { key })
    if (known.answer === null && known.status !== 204) throw new DomainError('idempotency_shown_once', { key })
    return reply.code(known.status).header('idempotency-replayed', 'true').type('application/json').serializer((text: string) => text).send(known.answer ?? '')
  })

  app.addHook('onSend', async (request, reply, payload) => {
    const mine = taken.get(request)
    if (!mine) return payload
    taken.delete(request)
    await db.write(async (trx) => {
      // What was refused changed nothing, and may be asked again when things are otherwise. Of a fault of ours nobody knows how far it came.
      if (reply.statusCode >= 400 && reply.statusCode < 500) {
        await trx.deleteFrom('idempotency_keys').where('principal', '=', mine.principal).where('key', '=', mine.key).execute()
      } else if (reply.statusCode < 400) {
        await trx.updateTable('idempotency_keys').set({ status: reply.statusCode, answer: mine.once || typeof payload !== 'string' ? null : payload }).where('principal', '=', mine.principal).where('key', '=', mine.key).execute()
      }
    })
    return payload
  })
}
