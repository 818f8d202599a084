import { dryRunPolicies, explainPolicy, listPolicies, type Policy, removePolicy, setPolicy } from '@swarm/contract/endpoints/policies.ts'
import { APPROVAL_KINDS } from '@swarm/core/approvals/approval.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { ACTION_NAMES, ACTIONS, type Action } from '@swarm/core/policy/actions.ts'
import { SHIPPED_POLICIES } from '@swarm/core/policy/shipped.ts'
import type { Kysely } from 'kysely'
import type { z } from 'zod'
import { approvalOf, createPolicyEngine, policyProblems, type PolicySet, type Subject } from '../../authorization/engine.ts'
import { type Resource, RESOLVERS, type ResolverName } from '../../authorization/resources.ts'
import { policiesOf, rightsChanged, rightsOf, subjectOf } from '../../authorization/rights.ts'
import type { Context } from '../../context.ts'
import type { Schema } from '../../db/schema.ts'
import { appendEvents } from '../../events/events.ts'
import { register } from '../../http/register.ts'
import { deletePolicy, newestEntries, policyRows, type PolicyRow, writePolicy } from './queries.ts'

type Proposed = NonNullable<z.output<NonNullable<typeof explainPolicy.body>>['proposed']>

/** Policies of organisations: seen, changed, explained and tried out. What decides by them is authorization/. */
export function registerPolicies({ http, db, clock }: Pick<Context, 'http' | 'db' | 'clock'>): void {
  const engine = createPolicyEngine()
  const organizationOf = (resource: Resource | null): string => {
    if (resource?.organizationId == null) throw new DomainError('invalid_input', { field: 'organizationId', problem: 'name an organisation' })
    return resource.organizationId
  }

  register(http, listPolicies, async ({ request }) => ({ items: await listed(db.read, organizationOf(request.resource)) }))

  register(http, setPolicy, async ({ params, body, principal, request, correlationId }) => {
    const organizationId = organizationOf(request.resource)
    const shipped = SHIPPED_POLICIES.find(({ id }) => id === params.policyId)
    if (shipped?.locked && !body.enabled) throw new DomainError('policy_locked', { id: shipped.id })
    if (shipped && body.cedar !== undefined) throw new DomainError('invalid_input', { field: 'body.cedar', problem: `${shipped.id} is one of Swarm's own: it can be switched off, and another one written` })
    if (!shipped && body.cedar === undefined) throw new DomainError('invalid_input', { field: 'body.cedar', problem: 'body.cedar: the text of the policy is missing' })
    if (body.cedar !== undefined) requireSound(params.policyId, body.cedar)
    const by = `${principal.kind} ${principal.id}`
    await db.write(async (trx) => {
      const before = (await policyRows(trx, organizationId)).find(({ id }) => id === params.policyId)
      const current = before?.version ?? 0
      const row: PolicyRow = {
        organization_id: organizationId, id: params.policyId, summary: shipped?.summary ?? body.summary ?? before?.summary ?? '', cedar: body.cedar ?? null, enabled: body.enabled ? 1 : 0,
        version: body.version + 1, changed_by: by, changed_at: clock(),
      }
      if (current !== body.version || !await writePolicy(trx, row)) throw new DomainError('version_conflict', { kind: 'policy', id: params.policyId, current, given: body.version })
      await appendEvents(trx, [{
        type: 'policy:changed', projectId: null, subject: { kind: 'organization', id: organizationId }, correlationId,
        data: { policyId: params.policyId, version: row.version, enabled: body.enabled, cedar: row.cedar, before: before?.cedar ?? null, by },
      }])
      await rightsChanged(trx, { organizationId })
    })
    const [policy] = (await listed(db.read, organizationId)).filter(({ id }) => id === params.policyId)
    if (!policy) throw new DomainError('not_found', { kind: 'policy', id: params.policyId })
    return policy
  })

  register(http, removePolicy, async ({ params, principal, request, correlationId }) => {
    const organizationId = organizationOf(request.resource)
    await db.write(async (trx) => {
      const before = (await policyRows(trx, organizationId)).find(({ id }) => id === params.policyId)
      if (!before || !await deletePolicy(trx, organizationId, params.policyId)) throw new DomainError('not_found', { kind: 'policy', id: params.policyId })
      await appendEvents(trx, [{
        type: 'policy:changed', projectId: null, subject: { kind: 'organization', id: organizationId }, correlationId,
        data: { policyId: params.policyId, version: before.version, enabled: false, cedar: null, before: before.cedar, by: `${principal.kind} ${principal.id}` },
      }])
      await rightsChanged(trx, { organizationId })
    })
    return undefined
  })

  register(http, explainPolicy, async ({ body, request }) => {
    const organizationId = organizationOf(request.resource)
    const resource = await resourceIn(db.read, organizationId, body.action, body.resource)
    const subject: Subject = body.principal.kind === 'user'
      ? { kind: 'user', id: body.principal.id, rights: body.principal.id === 'admin' ? (await subjectOf(db.read, { kind: 'admin', id: 'admin', tokenId: null }) as Extract<Subject, { kind: 'user' }>).rights : await rightsOf(db.read, body.principal.id) }
      : { kind: 'agent', id: body.principal.id, name: body.principal.id, projectId: resource.projectId ?? '', organizationId }
    const now = await policiesOf(db.read, organizationId)
    const { set, problems } = withProposed(now, body.proposed ?? [])
    const decide = (policies: PolicySet) => shown(engine.decide({ subject, action: body.action, resource, policies }))
    return { now: decide(now), proposed: body.proposed === undefined || problems.length > 0 ? null : decide(set), problems }
  })

  register(http, dryRunPolicies, async ({ body, request }) => {
    const organizationId = organizationOf(request.resource)
    const { set, problems } = withProposed(await policiesOf(db.read, organizationId), body.proposed)
    if (problems.length > 0) return { looked: 0, skipped: 0, problems, changed: [] }
    const entries = await newestEntries(db.read, organizationId, body.entries)
    const changed = []
    let skipped = 0
    for (const entry of entries) {
      const action = ACTION_NAMES.find((name) => name === entry.action)
      const resource = action && await resourceIn(db.read, organizationId, action, { kind: entry.resource_kind, id: entry.resource_id }).catch(() => null)
      if (!action || !resource) {
        skipped += 1
        continue
      }
      const subject = await subjectOf(db.read, { kind: entry.principal_kind === 'admin' ? 'admin' : 'user', id: entry.principal_id, tokenId: null })
      const now = engine.decide({ subject, action, resource, policies: set })
      if (now.outcome !== entry.outcome) changed.push({ entryId: entry.id, at: entry.at, principal: `${entry.principal_kind} ${entry.principal_id}`, action, resource: `${entry.resource_kind} ${entry.resource_id}`, was: entry.outcome, now: shown(now) })
    }
    return { looked: entries.length - skipped, skipped, problems, changed }
  })
}

async function listed(db: Kysely<Schema>, organizationId: string): Promise<Policy[]> {
  const rows = new Map((await policyRows(db, organizationId)).map((row) => [row.id, row]))
  const changes = (row: PolicyRow | undefined) => ({ version: row?.version ?? 0, changedBy: row?.changed_by ?? null, changedAt: row?.changed_at ?? null })
  return [
    ...SHIPPED_POLICIES.map(({ id, summary, locked, cedar }) => ({ id, summary, cedar, shipped: true, locked, enabled: locked || rows.get(id)?.enabled !== 0, ...changes(rows.get(id)) })),
    ...[...rows.values()].flatMap((row) => row.cedar === null ? [] : [{ id: row.id, summary: row.summary, cedar: row.cedar, shipped: false, locked: false, enabled: row.enabled === 1, ...changes(row) }]),
  ]
}

/** What is wrong with a policy, its annotation among it. */
function problemsOf(cedar: string): string[] {
  const problems = policyProblems(cedar)
  const kind = problems.length === 0 ? approvalOf(cedar) : null
  return kind === null || (APPROVAL_KINDS as readonly string[]).includes(kind) ? problems : [`there is no kind of approval "${kind}": it is one of ${APPROVAL_KINDS.join(', ')}`]
}

function requireSound(id: string, cedar: string): void {
  const [problem] = problemsOf(cedar)
  if (problem !== undefined) throw new DomainError('policy_invalid', { id, problem })
}

/** The policies as they would be. */
function withProposed(now: PolicySet, proposed: Proposed): { set: PolicySet; problems: { id: string; problem: string }[] } {
  const problems = proposed.flatMap(({ id, cedar }) => cedar === undefined ? [] : problemsOf(cedar).map((problem) => ({ id, problem })))
  const named = new Set(proposed.map(({ id }) => id))
  return {
    problems,
    set: {
      own: [...now.own.filter(({ id }) => !named.has(id)), ...proposed.flatMap(({ id, cedar, enabled }) => cedar === undefined || !enabled ? [] : [{ id, cedar }])],
      disabled: [...now.disabled.filter((id) => !named.has(id)), ...proposed.flatMap(({ id, cedar, enabled }) => cedar === undefined && !enabled ? [id] : [])],
    },
  }
}

/** Something in this organisation, as the action sees it. @throws DomainError not_found */
async function resourceIn(db: Kysely<Schema>, organizationId: string, action: Action, named: { kind: string; id: string; projectId?: string | undefined } | undefined): Promise<Resource> {
  const { on } = ACTIONS[action]
  const inside = async (name: ResolverName, id: string): Promise<Resource> => {
    const found = await RESOLVERS[name](db, id)
    if (found?.organizationId !== organizationId) throw new DomainError('not_found', { kind: name, id })
    return found
  }
  if (on === 'installation' || on === 'account') return { kind: on, id: on, organizationId: null, projectId: null }
  if (named === undefined) return { ...await inside('organization', organizationId), kind: on }
  if (named.kind === 'host' || named.kind === 'secret') {
    const project = await inside('project', named.projectId ?? '')
    return { ...project, kind: named.kind, id: named.id, name: named.id }
  }
  const found = await inside(named.kind as ResolverName, named.id)
  return found.kind === on ? found : { ...found, kind: on, ...(on === 'project' && found.projectId !== null ? { id: found.projectId } : {}) }
}

const shown = (decision: ReturnType<ReturnType<typeof createPolicyEngine>['decide']>) => ({ ...decision, policies: [...decision.policies], faults: [...decision.faults] })
