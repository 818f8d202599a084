import { createHash } from 'node:crypto'
import { canonicalJson } from '@swarm/core/approvals/approval.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { FastifyReply, FastifyRequest } from 'fastify'

/** The entity tag of what is answered: another one when anything in it is different. */
export function etagOf(value: unknown): string {
  return `"${createHash('sha256').update(canonicalJson(value)).digest('base64url').slice(0, 22)}"`
}

/** Answers with something that people edit, and its tag. */
export function withEtag<T>(reply: FastifyReply, value: T): T {
  reply.header('etag', etagOf(value))
  return value
}

/** Refuses a change that was made on something else than `current`; without `If-Match` it is let through. @throws DomainError changed_meanwhile */
export function requireMatch(request: Pick<FastifyRequest, 'headers'>, about: { kind: string; id: string }, current: unknown): void {
  const given = request.headers['if-match']
  if (given === undefined || given === '*') return
  if (!given.split(',').some((tag) => tag.trim() === etagOf(current))) throw new DomainError('changed_meanwhile', about)
}
