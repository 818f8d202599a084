import { randomUUID } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { ACTIONS, scopeCovers, type Action, type ProjectRole, type Role } from '@swarm/core/policy/actions.ts'
import { ENTITY_TYPES, POLICY_SCHEMA, SHIPPED_POLICIES } from '@swarm/core/policy/shipped.ts'
import * as cedar from '@cedar-policy/cedar-wasm/nodejs'
import type { Resource } from './resources.ts'

/** What a person is allowed by: roles in organisations and in single projects. */
export interface Rights {
  readonly superAdmin: boolean
  readonly organizations: ReadonlyMap<string, Role>
  readonly projects: ReadonlyMap<string, ProjectRole>
}

/** Who asks. */
export type Subject =
  | { readonly kind: 'user'; readonly id: string; readonly rights: Rights }
  /** An API key, of a user; `scopes` limits it further. */
  | { readonly kind: 'key'; readonly id: string; readonly userId: string; readonly scopes: readonly string[]; readonly rights: Rights }
  /** An agent at work: its attempt. */
  | { readonly kind: 'agent'; readonly id: string; readonly name: string; readonly projectId: string; readonly organizationId: string }

export interface Decision {
  /** `approval`: it is only forbidden until a person approves it. */
  readonly outcome: 'allow' | 'deny' | 'approval'
  /** Ids of the policies that decided; none when nothing permits it. */
  readonly policies: readonly string[]
  /** Of outcome `approval`: the kind of approval that the policy asks for. */
  readonly approval: string | null
  /** Policies that could not be evaluated: the answer is `deny` then. */
  readonly faults: readonly string[]
}

export interface StoredPolicy { readonly id: string; readonly cedar: string }
/** The policies of an organisation: its own, and which of the shipped ones it has switched off. */
export interface PolicySet { readonly own: readonly StoredPolicy[]; readonly disabled: readonly string[] }

export const SHIPPED_ONLY: PolicySet = { own: [], disabled: [] }

/** Problems of a policy's text, by what it says and by the schema; none when it may be stored. */
export function policyProblems(text: string): string[] {
  const parts = cedar.policySetTextToParts(text)
  if (parts.type === 'failure') return parts.errors.map(({ message, help }) => help === null || help === undefined ? message : `${message} (${help})`)
  if (parts.policies.length !== 1 || parts.policy_templates.length > 0) return ['exactly one policy is expected, and no template']
  const answer = cedar.validate({ schema: POLICY_SCHEMA as cedar.Schema, policies: { staticPolicies: { policy: text } }, validationSettings: { mode: 'strict' } })
  if (answer.type === 'failure') return answer.errors.map(({ message }) => message)
  return answer.validationErrors.map(({ error }) => error.message)
}

/** The kind of approval that a policy's annotation asks for, or null. */
export function approvalOf(text: string): string | null {
  const answer = cedar.policyToJson(text)
  return answer.type === 'success' && answer.json.effect === 'forbid' ? answer.json.annotations?.['approval'] ?? null : null
}

interface Prepared {
  readonly set: PolicySet
  /** By policy id, the kind of approval that lifts it. */
  readonly lifted: ReadonlyMap<string, string>
}

/** Decides by policies. Sets are parsed once and kept until they change (10,000 decisions take 1.8 s so, and 7.9 s without). */
export function createPolicyEngine(): { decide(request: { subject: Subject; action: Action; resource: Resource; policies: PolicySet }): Decision } {
  const prepared = new Map<string, Prepared>()
  // Cedar keeps parsed sets for the whole process by their names: what one engine tries must not become what another one decides by.
  const own = randomUUID()
  const nameOf = (key: string, approved = false): string => `${own} ${key}${approved ? ' approved' : ''}`

  function prepare(key: string, set: PolicySet): Prepared {
    const known = prepared.get(key)
    if (known && (known.set === set || isDeepStrictEqual(known.set, set))) return known
    const texts = new Map([...SHIPPED_POLICIES.filter(({ id, locked }) => locked || !set.disabled.includes(id)), ...set.own].map((policy) => [policy.id, policy.cedar]))
    const lifted = new Map([...texts].flatMap(([id, text]) => {
      const kind = approvalOf(text)
      return kind === null ? [] : [[id, kind] as const]
    }))
    const parse = (name: string, policies: Record<string, string>) => {
      const answer = cedar.preparsePolicySet(name, { staticPolicies: policies })
      if (answer.type === 'failure') throw new Error(`policies of ${key} do not parse: ${answer.errors.map(({ message }) => message).join('; ')}`)
    }
    parse(nameOf(key), Object.fromEntries(texts))
    // What would be permitted if a person had approved.
    parse(nameOf(key, true), Object.fromEntries([...texts].filter(([id]) => !lifted.has(id))))
    const made = { set, lifted }
    prepared.set(key, made)
    return made
  }

  return {
    decide({ subject, action, resource, policies }) {
      const key = resource.organizationId ?? ''
      const { lifted } = prepare(key, policies)
      const request = {
        ...entitiesOf(subject, action, resource), action: { type: 'Action', id: action }, resource: uidOf(resource),
        context: { inScope: subject.kind !== 'key' || scopeCovers(subject.scopes, action) },
      }
      const ask = (name: string) => {
        const answer = cedar.statefulIsAuthorized({ ...request, preparsedPolicySetId: name })
        if (answer.type === 'failure') throw new Error(`policies of ${key} cannot decide ${action}: ${answer.errors.map(({ message }) => message).join('; ')}`)
        return { allowed: answer.response.decision === 'allow', reasons: answer.response.diagnostics.reason, faults: answer.response.diagnostics.errors.map(({ policyId }) => policyId) }
      }
      const first = ask(nameOf(key))
      const outcome = (kind: Decision['outcome'], reasons: readonly string[], approval: string | null = null): Decision => ({ outcome: kind, policies: [...reasons].sort(), approval, faults: first.faults })
      // A policy that fails counts for nothing in Cedar: a forbid that fails would open what it closes.
      if (first.faults.length > 0) return outcome('deny', first.faults)
      if (first.allowed) return outcome('allow', first.reasons)
      const kinds = first.reasons.map((id) => lifted.get(id))
      const [kind] = kinds
      if (kind === undefined || kinds.includes(undefined)) return outcome('deny', first.reasons)
      return ask(nameOf(key, true)).allowed ? outcome('approval', first.reasons, kind) : outcome('deny', first.reasons)
    },
  }
}

const role = (id: string): cedar.TypeAndId => ({ type: 'Role', id })
const SIGNED_IN = role('signed_in')
const SUPER_ADMIN = role('super_admin')
const entity = (value: cedar.TypeAndId): cedar.CedarValueJson => ({ __entity: value })

const uidOf = (resource: Resource): cedar.TypeAndId => ({ type: ENTITY_TYPES[resource.kind], id: resource.id })

/** The roles that hold for a resource: those of its project, else of its organisation; of the installation, whoever is signed in. */
function rolesFor({ organizationId, projectId }: Resource): { viewers: cedar.TypeAndId; developers: cedar.TypeAndId; admins: cedar.TypeAndId } {
  if (organizationId === null) return { viewers: SIGNED_IN, developers: SUPER_ADMIN, admins: SUPER_ADMIN }
  const scope = projectId ?? organizationId
  return { viewers: role(`${scope}/viewer`), developers: role(`${scope}/developer`), admins: role(`${organizationId}/admin`) }
}

/** The principal and all entities that a decision about this resource can touch. */
function entitiesOf(subject: Subject, action: Action, resource: Resource): { principal: cedar.TypeAndId; entities: cedar.Entities } {
  const { organizationId, projectId } = resource
  const roles = rolesFor(resource)
  const entities: cedar.Entities = [{
    uid: uidOf(resource), parents: [],
    attrs: {
      viewers: entity(roles.viewers), developers: entity(roles.developers), admins: entity(roles.admins),
      organization: organizationId ?? '', project: projectId ?? '', kind: resource.about ?? resource.kind, name: resource.name ?? '',
    },
  }]
  entities.push({ uid: { type: 'Action', id: action }, attrs: {}, parents: [{ type: 'Action', id: ACTIONS[action].group }] })
  const add = (id: string, parents: readonly string[]) => entities.push({ uid: role(id), attrs: {}, parents: parents.map(role) })
  if (organizationId !== null) {
    const open = projectId !== null && resource.membersOnly !== true
    add(`${organizationId}/admin`, [`${organizationId}/developer`, ...(projectId === null ? [] : [`${projectId}/developer`])])
    add(`${organizationId}/developer`, [`${organizationId}/viewer`, ...(open ? [`${projectId}/developer`] : [])])
    add(`${organizationId}/viewer`, open ? [`${projectId}/viewer`] : [])
    if (projectId !== null) {
      add(`${projectId}/developer`, [`${projectId}/viewer`])
      add(`${projectId}/viewer`, [])
    }
  }
  if (subject.kind === 'agent') {
    const principal = { type: 'Agent', id: subject.id }
    entities.push({ uid: principal, attrs: { name: subject.name, project: subject.projectId, organization: subject.organizationId }, parents: [] })
    return { principal, entities }
  }
  const user = { type: 'User', id: subject.kind === 'key' ? subject.userId : subject.id }
  const { rights } = subject
  const inOrganization = organizationId === null ? undefined : rights.organizations.get(organizationId)
  const inProject = projectId === null ? undefined : rights.projects.get(projectId)
  entities.push({
    uid: user, attrs: {},
    parents: [
      SIGNED_IN, ...(rights.superAdmin ? [SUPER_ADMIN] : []), ...(inOrganization === undefined ? [] : [role(`${organizationId}/${inOrganization}`)]),
      // Who left the organisation is in none of its projects.
      ...(inProject === undefined || inOrganization === undefined ? [] : [role(`${projectId}/${inProject}`)]),
    ],
  })
  if (subject.kind === 'user') return { principal: user, entities }
  const key = { type: 'ApiKey', id: subject.id }
  entities.push({ uid: key, attrs: { user: entity(user) }, parents: [user] })
  return { principal: key, entities }
}

/** Whether it is something that a policy about an action of this group is asked about before it happens, and written down. */
export function isRecorded(action: Action): boolean {
  return ACTIONS[action].group !== 'read' && !['account:use', 'system:read', 'live:connect'].includes(action)
}
