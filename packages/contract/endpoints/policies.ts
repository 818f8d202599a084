import { ACTION_NAMES } from '@swarm/core/policy/actions.ts'
import { z } from 'zod'
import { endpoint, inBody, inParams, inQuery } from '../endpoint.ts'
import { Time } from './shared.ts'

/** A name of a policy, unique in its organisation. */
export const PolicyId = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'lower-case letters, digits and hyphens, at most 63')
const Cedar = z.string().min(1).max(20_000)

export const Policy = z.object({
  id: PolicyId, summary: z.string(),
  /** The policy in Cedar (https://docs.cedarpolicy.com). */
  cedar: z.string(),
  /** One of Swarm's own. `locked`: cannot be switched off. */
  shipped: z.boolean(), locked: z.boolean(), enabled: z.boolean(),
  /** Counts its changes; 0 for a shipped one that was never touched. Send it back to change it. */
  version: z.number().int(), changedBy: z.string().nullable(), changedAt: Time.nullable(),
})
export type Policy = z.infer<typeof Policy>

const Decision = z.object({
  outcome: z.enum(['allow', 'deny', 'approval']),
  /** Ids of the policies that decided; none when nothing permits it. */
  policies: z.array(z.string()),
  /** Of outcome `approval`: which kind of approval is asked for. */
  approval: z.string().nullable(),
  /** Policies that could not be evaluated: the outcome is `deny` then. */
  faults: z.array(z.string()),
})

const Organization = z.string().max(200)
const ByPolicy = z.object({ organizationId: Organization, policyId: PolicyId })

export const listPolicies = endpoint({
  method: 'GET', path: '/api/policies', access: ['person'], action: 'policy:read', on: inQuery('organization', 'organizationId'), tag: 'policies', summary: 'Policies of an organisation, Swarm\'s own first',
  query: z.object({ organizationId: Organization.optional() }), response: z.object({ items: z.array(Policy) }),
})
export const setPolicy = endpoint({
  method: 'PUT', path: '/api/policies/:organizationId/:policyId', access: ['person'], action: 'policy:edit', on: inParams('organization', 'organizationId'), tag: 'policies',
  summary: 'Makes or changes a policy of an organisation, or switches one of Swarm\'s own off and on',
  params: ByPolicy,
  body: z.object({
    /** Left out for one of Swarm's own, whose text stays. */
    cedar: Cedar.optional(), summary: z.string().max(500).optional(), enabled: z.boolean().default(true),
    /** The version that you changed; 0 for a new one. Another one is refused. */
    version: z.number().int().min(0),
  }),
  response: Policy,
})
export const removePolicy = endpoint({
  method: 'DELETE', path: '/api/policies/:organizationId/:policyId', access: ['person'], action: 'policy:edit', on: inParams('organization', 'organizationId'), tag: 'policies', status: 204,
  summary: 'Removes a policy of an organisation', params: ByPolicy, response: z.undefined(),
})
/** Policies as they would be: in place of those of the same name. */
const Proposed = z.array(z.object({ id: PolicyId, cedar: Cedar.optional(), enabled: z.boolean().default(true) })).max(50)
export const explainPolicy = endpoint({
  method: 'POST', path: '/api/policies/explain', access: ['person'], action: 'policy:read', on: inBody('organization', 'organizationId'), tag: 'policies',
  summary: 'Says whether somebody may do something and which policies decide, also as it would be with other policies',
  body: z.object({
    organizationId: Organization.optional(),
    principal: z.object({ kind: z.enum(['user', 'agent']), /** Of a user, their id; of an agent, its name. */ id: z.string().max(200) }),
    action: z.enum(ACTION_NAMES),
    /** A project, ticket, change, … of the organisation, by its id; the organisation itself unless given. */
    resource: z.object({ kind: z.enum(['project', 'repository', 'session', 'ticket', 'question', 'approval', 'change', 'vm', 'host']), id: z.string().max(300), /** Of a host: the project from which it is reached. */ projectId: z.string().max(200).optional() }).optional(),
    proposed: Proposed.optional(),
  }),
  response: z.object({ now: Decision, proposed: Decision.nullable(), problems: z.array(z.object({ id: z.string(), problem: z.string() })) }),
})
export const dryRunPolicies = endpoint({
  method: 'POST', path: '/api/policies/dry-run', access: ['person'], action: 'policy:read', on: inBody('organization', 'organizationId'), tag: 'policies',
  summary: 'Decides what was asked lately once more with other policies, and shows what would come out otherwise',
  body: z.object({ organizationId: Organization.optional(), proposed: Proposed.min(1), /** Entries of the audit log that are looked at, the newest. */ entries: z.number().int().min(1).max(1_000).default(200) }),
  response: z.object({
    /** Entries that were decided again; `skipped` are about something or somebody that is not there any more. */
    looked: z.number().int(), skipped: z.number().int(), problems: z.array(z.object({ id: z.string(), problem: z.string() })),
    changed: z.array(z.object({ entryId: z.string(), at: Time, principal: z.string(), action: z.string(), resource: z.string(), was: z.string(), now: Decision })),
  }),
})
