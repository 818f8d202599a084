import { cancelSession, checkSpec, createSession, listSessions, retrySession, showSession } from '@swarm/contract/endpoints/design.ts'
import { MAX_SPEC_BYTES, parseSpec } from '@swarm/core/design/spec.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { z } from 'zod'
import type { Database } from '../../db/database.ts'
import { fromJson } from '../../db/json.ts'
import { type HttpTarget, register } from '../../http/register.ts'
import { presentDetail, presentSession } from './present.ts'
import { sessionPage, specVersion, stepsOf } from './queries.ts'
import type { DesignService } from './service.ts'
import { StoredSpec } from './stored.ts'
import { requireSession } from './transition.ts'

/** A spec as a JSON string: each byte may take two, and the parser says itself when a spec is too large. */
const BODY_LIMIT_BYTES = 2 * MAX_SPEC_BYTES + 64 * 1024

export function registerDesignRoutes(http: HttpTarget, deps: { db: Database; design: DesignService }): void {
  register(http, createSession, async ({ body, correlationId }) => presentSession(await deps.design.create({ ...body, correlationId })), { bodyLimitBytes: BODY_LIMIT_BYTES })

  // In a scope of its own: no other route takes a body that is no JSON.
  http.app.register(async (scope) => {
    scope.addContentTypeParser('text/markdown', { parseAs: 'string' }, (_request, spec, done) => { done(null, { spec }) })
    register({ ...http, app: scope as unknown as HttpTarget['app'] }, checkSpec, async ({ body }) => checked(body.spec), { bodyLimitBytes: BODY_LIMIT_BYTES })
  })

  register(http, listSessions, async ({ query, projects }) => {
    const rows = await sessionPage(deps.db.read, { ...query, projects: await projects() }, query.cursor === undefined ? null : parseCursor(query.cursor), query.limit + 1)
    const items = rows.slice(0, query.limit)
    const last = items.at(-1)
    return { items: items.map(presentSession), nextCursor: rows.length > query.limit && last ? `${last.created_at}.${last.id}` : null }
  })

  register(http, showSession, async ({ params }) => {
    const session = await requireSession(deps.db.read, params.sessionId)
    const version = await specVersion(deps.db.read, session.id, session.spec_version)
    if (!version) throw new DomainError('not_found', { kind: 'spec version', id: session.spec_version })
    return presentDetail(session, fromJson(StoredSpec, version.parsed), await stepsOf(deps.db.read, session.id))
  })

  register(http, cancelSession, async ({ params, correlationId }) => presentSession(await deps.design.cancel(params.sessionId, correlationId)))
  register(http, retrySession, async ({ params, correlationId }) => presentSession(await deps.design.retry(params.sessionId, correlationId)))
}

function checked(markdown: string): z.output<typeof checkSpec.response> {
  try {
    const { title, requirements, outOfScope } = parseSpec(markdown)
    return { title, requirements: [...requirements], outOfScope: [...outOfScope], problems: [] }
  } catch (error) {
    if (!(error instanceof DomainError)) throw error
    const { code, message, remedy, details: { line } } = error
    return { title: null, requirements: [], outOfScope: [], problems: [{ code, message, remedy, line: typeof line === 'number' ? line : null }] }
  }
}

function parseCursor(cursor: string): { at: number; id: string } {
  const match = /^(\d{1,16})\.([A-Z0-9-]{1,40})$/.exec(cursor)
  if (!match?.[1] || !match[2]) throw new DomainError('invalid_input', { problem: 'the cursor is not one that Swarm gave', field: 'cursor' })
  return { at: Number(match[1]), id: match[2] }
}
