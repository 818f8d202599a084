import { answerSession, cancelSession, checkSpec, createSession, diffSpecVersions, editSpec, listSessions, listSpecVersions, retrySession, showSession, showSpecVersion, skipQuestions } from '@swarm/contract/endpoints/design.ts'
import { specChanges } from '@swarm/core/design/changes.ts'
import { MAX_SPEC_BYTES, parseSpec, type Spec } from '@swarm/core/design/spec.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { diffTexts } from '@swarm/git/text-diff.ts'
import type { z } from 'zod'
import type { Database } from '../../db/database.ts'
import { fromJson } from '../../db/json.ts'
import { byCreation, page, readPosition } from '../../http/pages.ts'
import { type HttpTarget, register } from '../../http/register.ts'
import type { Principal } from '../../http/tokens.ts'
import { estimatesOf } from './history-queries.ts'
import { presentDetail, presentSession, presentVersion, presentVersionDetail } from './present.ts'
import { clarificationsOf, sessionPage, specVersion, specVersionPage, stepsOf, type SpecVersionRow } from './queries.ts'
import type { DesignService } from './service.ts'
import { StoredSpec } from './stored.ts'
import { requireSession } from './transition.ts'
import { requireVersion } from './versions.ts'

/** A spec as a JSON string: each byte may take two, and the parser says itself when a spec is too large. */
const BODY_LIMIT_BYTES = 2 * MAX_SPEC_BYTES + 64 * 1024
/** An idea has none of this. */
const NOTHING: Spec = { title: '', sections: [], requirements: [], acceptance: [], constraints: [], outOfScope: [] }

export function registerDesignRoutes(http: HttpTarget, deps: { db: Database; design: DesignService }): void {
  const { db, design } = deps
  const person = (principal: Principal): string => `${principal.kind} ${principal.id}`
  const versionOf = async (sessionId: string, version: number): Promise<SpecVersionRow> => {
    const row = await specVersion(db.read, (await requireSession(db.read, sessionId)).id, version)
    if (!row) throw new DomainError('not_found', { kind: 'spec version', id: `${version} of ${sessionId}` })
    return row
  }

  register(http, createSession, async ({ body, principal, correlationId }) => presentSession(await design.create({ ...body, by: person(principal), correlationId })), { bodyLimitBytes: BODY_LIMIT_BYTES })

  // In a scope of its own: no other route takes a body that is no JSON.
  http.app.register(async (scope) => {
    scope.addContentTypeParser('text/markdown', { parseAs: 'string' }, (_request, spec, done) => { done(null, { spec }) })
    register({ ...http, app: scope as unknown as HttpTarget['app'] }, checkSpec, async ({ body }) => checked(body.spec), { bodyLimitBytes: BODY_LIMIT_BYTES })
  })

  register(http, listSessions, async ({ query, projects }) => {
    return page(await sessionPage(db.read, { ...query, projects: await projects() }, readPosition(query.cursor), query.limit + 1), query.limit, presentSession, byCreation)
  })

  register(http, showSession, async ({ params }) => {
    const session = await requireSession(db.read, params.sessionId)
    const { stored } = await requireVersion(db.read, session, session.spec_version)
    const [steps, clarifications, estimates] = await Promise.all([stepsOf(db.read, session.id), clarificationsOf(db.read, session.id), estimatesOf(db.read, session.id)])
    return presentDetail(session, { spec: stored, steps, clarifications, estimates })
  })

  register(http, answerSession, async ({ params, body, principal, correlationId }) => presentSession(await design.answer({ ...params, ...body, by: person(principal), correlationId })))
  register(http, skipQuestions, async ({ params, principal, correlationId }) => presentSession(await design.skip({ ...params, by: person(principal), correlationId })))
  register(http, editSpec, async ({ params, body, principal, correlationId }) => presentSession(await design.edit({ ...params, ...body, by: person(principal), correlationId })), { bodyLimitBytes: BODY_LIMIT_BYTES })

  register(http, listSpecVersions, async ({ params, query }) => {
    const session = await requireSession(db.read, params.sessionId)
    const rows = await specVersionPage(db.read, session.id, query.cursor === undefined ? null : parseVersionCursor(query.cursor), query.limit + 1)
    return { items: rows.slice(0, query.limit).map(presentVersion), nextCursor: rows.length > query.limit ? String(rows[query.limit - 1]?.version) : null }
  })
  register(http, showSpecVersion, async ({ params }) => presentVersionDetail(await versionOf(params.sessionId, params.version)))
  register(http, diffSpecVersions, async ({ params }) => {
    const [from, to] = await Promise.all([versionOf(params.sessionId, params.version), versionOf(params.sessionId, params.to)])
    const { added, changed, removed, everywhere } = specChanges(fromJson(StoredSpec, from.parsed).spec ?? NOTHING, fromJson(StoredSpec, to.parsed).spec ?? NOTHING)
    return {
      from: from.version, to: to.version, unified: await diffTexts(from.markdown, to.markdown, [`version ${from.version}`, `version ${to.version}`]),
      added: [...added], changed: [...changed], removed: [...removed], everywhere: [...everywhere],
    }
  })

  register(http, cancelSession, async ({ params, principal, correlationId }) => presentSession(await design.cancel({ ...params, by: person(principal), correlationId })))
  register(http, retrySession, async ({ params, correlationId }) => presentSession(await design.retry(params.sessionId, correlationId)))
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

function parseVersionCursor(cursor: string): number {
  if (!/^\d{1,9}$/.test(cursor)) throw notOurs()
  return Number(cursor)
}

function notOurs(): DomainError {
  return new DomainError('invalid_input', { problem: 'the cursor is not one that Swarm gave', field: 'cursor' })
}
