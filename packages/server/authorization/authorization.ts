import { DomainError } from '@swarm/core/errors.ts'
import { ACTIONS, type Action } from '@swarm/core/policy/actions.ts'
import type { Kysely } from 'kysely'
import type { Database } from '../db/database.ts'
import type { Schema } from '../db/schema.ts'
import type { Principal } from '../http/tokens.ts'
import { recordAttempt } from './audit.ts'
import { createPolicyEngine, type Decision, isRecorded, type Subject } from './engine.ts'
import { type Resource, RESOLVERS, type ResolverName } from './resources.ts'
import { isPerson, policiesOf, subjectOf } from './rights.ts'

/** The projects in which somebody may do something. */
export type VisibleProjects = 'all' | readonly string[]

/** Something that waits for a person, since a policy says so. */
export interface PolicyApproval {
  readonly kind: string
  readonly action: Action
  readonly resource: Resource
  readonly principal: Principal
  readonly policies: readonly string[]
  /** What was asked for, exactly: the request and a digest of its body. */
  readonly request: unknown
  readonly correlationId: string
}

export interface AuthorizationDependencies {
  readonly db: Database
  readonly now: () => number
  readonly makeId: (kind: 'audit') => string
}

/** The one place that says whether somebody may do something: allowed, denied, or only after a person approved it. */
export interface Authorization {
  /** Decides, and writes nothing. @param db a unit's `trx`, where the answer must hold until its commit */
  decide(db: Kysely<Schema>, principal: Principal, action: Action, resource: Resource): Promise<Decision>
  /** Decides for anybody, an agent for one. */
  decideFor(db: Kysely<Schema>, subject: Subject, action: Action, resource: Resource): Promise<Decision>
  /** What an id in a request means, as the action sees it: what is done to a project is asked about the project that a ticket is in. @throws DomainError not_found */
  resolve(action: Action, name: ResolverName, id: string): Promise<Resource>
  /**
   * Lets through what is allowed and writes down what is more than reading.
   * @param about.asked what the caller named, for the error; `request` what exactly is asked for, as an approval shows it
   * @returns the id of the audit entry, or null
   * @throws DomainError `not_found` for what this caller may not even see, `forbidden`, `approval_required`
   */
  require(principal: Principal, action: Action, resource: Resource, about: { asked: { kind: string; id: string }; via: string; correlationId: string; request: unknown }): Promise<string | null>
  /** The projects in which somebody may do this. */
  projectsFor(principal: Principal, action: Action): Promise<VisibleProjects>
  /** Whether somebody may see what happens in a project. */
  sees(principal: Principal, projectId: string): Promise<boolean>
  /** Registered once at start by the approvals feature: an approval for exactly this request, used up, or the id of the one that was asked for. */
  onApproval(ask: (request: PolicyApproval) => Promise<{ used: boolean; approvalId: string }>): void
}

export function createAuthorization({ db, now, makeId }: AuthorizationDependencies): Authorization {
  const engine = createPolicyEngine()
  let askApproval: ((request: PolicyApproval) => Promise<{ used: boolean; approvalId: string }>) | undefined

  const decideFor = async (source: Kysely<Schema>, subject: Subject, action: Action, resource: Resource): Promise<Decision> =>
    engine.decide({ subject, action, resource, policies: await policiesOf(source, resource.organizationId) })
  const decide = async (source: Kysely<Schema>, principal: Principal, action: Action, resource: Resource): Promise<Decision> =>
    decideFor(source, await subjectOf(source, principal), action, resource)

  /** What may be read of a resource of this kind: who may not read it learns nothing of it. */
  async function maySee(principal: Principal, resource: Resource): Promise<boolean> {
    if (resource.organizationId === null) return true
    const read: Action = resource.projectId === null ? 'organization:read' : 'project:read'
    const seen: Resource = resource.projectId === null ? { ...resource, kind: 'organization', id: resource.organizationId } : { ...resource, kind: 'project', id: resource.projectId }
    return (await decide(db.read, { ...principal }, read, seen)).outcome === 'allow'
  }

  return {
    decide,
    decideFor,

    async resolve(action, name, id) {
      const resource = await RESOLVERS[name](db.read, id)
      if (resource === null) throw new DomainError('not_found', { kind: name, id })
      const { on } = ACTIONS[action]
      if (resource.kind === on) return resource
      // Of a project or an organisation as a whole: to all of that kind in it.
      if (on !== 'project') return { ...resource, kind: on, id: '*' }
      if (resource.projectId === null) throw new TypeError(`${action} is done to a ${on}, not to a ${resource.kind}`)
      return { ...resource, kind: on, id: resource.projectId }
    },

    async require(principal, action, resource, about) {
      const decision = await decide(db.read, principal, action, resource)
      const recorded = decision.outcome !== 'allow' || isRecorded(action)
      const id = makeId('audit')
      const { via, correlationId } = about
      const record = async (made: Decision) => db.write((trx) => recordAttempt(trx, { id, at: now(), principal, action, resource, decision: made, via, correlationId }))
      if (decision.outcome === 'allow') {
        if (recorded) await record(decision)
        return recorded ? id : null
      }
      if (decision.outcome === 'deny') {
        await record(decision)
        if (!await maySee(principal, resource)) throw new DomainError('not_found', { ...about.asked })
        throw new DomainError('forbidden', { action, what: ACTIONS[action].summary, resource: `${resource.kind} ${resource.id}`, policies: decision.policies, why: whyNot(decision) })
      }
      if (askApproval === undefined) throw new Error('nobody takes approvals that policies ask for')
      const { used, approvalId } = await askApproval({ kind: decision.approval ?? 'policy', action, resource, principal, policies: decision.policies, request: about.request, correlationId })
      await record(used ? { ...decision, outcome: 'allow' } : decision)
      if (used) return id
      throw new DomainError('approval_required', { action, what: ACTIONS[action].summary, approvalId, policies: decision.policies })
    },

    async sees(principal, projectId) {
      const resource = isPerson(principal) ? await RESOLVERS.project(db.read, projectId) : null
      return resource !== null && (await decide(db.read, principal, 'project:read', resource)).outcome === 'allow'
    },

    async projectsFor(principal, action) {
      if (!isPerson(principal)) return []
      const subject = await subjectOf(db.read, principal)
      if (subject.kind === 'user' && subject.rights.superAdmin) return 'all'
      if (subject.kind === 'agent') return []
      const rows = await db.read.selectFrom('projects').select('id')
        .$if(!subject.rights.superAdmin, (query) => query.where('organization_id', 'in', [...subject.rights.organizations.keys(), '']))
        .orderBy('id').execute()
      const seen: string[] = []
      for (const { id } of rows) {
        const resource = await RESOLVERS.project(db.read, id)
        if (resource && (await decideFor(db.read, subject, action, { ...resource, kind: ACTIONS[action].on })).outcome === 'allow') seen.push(id)
      }
      return seen
    },

    onApproval(ask) {
      askApproval = ask
    },
  }
}

function whyNot({ policies, faults }: Decision): string {
  if (faults.length > 0) return `a policy could not be evaluated: ${faults.join(', ')}`
  return policies.length === 0 ? 'no policy permits it' : `forbidden by ${policies.join(', ')}`
}


