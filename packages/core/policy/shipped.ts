import { ACTION_GROUPS, ACTIONS, ACTION_NAMES } from './actions.ts'

/*
 * The policies that every installation begins with, in Cedar (https://docs.cedarpolicy.com), and the schema that all policies
 * are checked against.
 *
 * Roles are entities: `Role::"<organisation>/admin"`, `Role::"<project>/developer"`, `Role::"super_admin"`. Those of an
 * organisation lie in those of its projects, an admin's in a developer's, a developer's in a viewer's; who is in a role is in all
 * that it lies in. Every resource names the three roles that hold for it.
 *
 * A `forbid` with the annotation `@approval("<kind>")` does not refuse: it makes the action wait for a person.
 */

export interface ShippedPolicy {
  readonly id: string
  readonly summary: string
  /** Cannot be switched off by an organisation: the borders between organisations, and what a key's scopes leave out. */
  readonly locked: boolean
  readonly cedar: string
}

export const SHIPPED_POLICIES: readonly ShippedPolicy[] = [
  {
    id: 'members-read', summary: 'Members of a project see what is in it.', locked: false,
    cedar: 'permit (principal, action in Action::"read", resource) when { principal in resource.viewers };',
  },
  {
    id: 'developers-work', summary: 'Developers start, answer, review and decide.', locked: false,
    cedar: 'permit (principal, action in Action::"work", resource) when { principal in resource.developers };',
  },
  {
    id: 'admins-administer', summary: 'Administrators of an organisation change its projects, members, secrets and policies.', locked: false,
    cedar: 'permit (principal, action in Action::"administer", resource) when { principal in resource.admins };',
  },
  {
    id: 'own-account', summary: 'Everybody uses their own account.', locked: true,
    cedar: 'permit (principal, action in Action::"own", resource);',
  },
  {
    id: 'super-admins', summary: 'Super administrators may do everything that persons do.', locked: true,
    cedar: 'permit (principal in Role::"super_admin", action in [Action::"read", Action::"work", Action::"administer", Action::"install", Action::"own"], resource);',
  },
  {
    id: 'organization-border', summary: 'Nobody reaches into an organisation that they do not belong to, whatever its policies permit.', locked: true,
    cedar: `forbid (principal, action in [Action::"read", Action::"work", Action::"administer"], resource)
unless { principal in resource.viewers || principal in Role::"super_admin" };`,
  },
  {
    id: 'installation-border', summary: 'What concerns the whole installation is for super administrators.', locked: true,
    cedar: 'forbid (principal, action in Action::"install", resource) unless { principal in Role::"super_admin" };',
  },
  {
    id: 'key-scopes', summary: 'An API key does nothing outside its scopes.', locked: true,
    cedar: 'forbid (principal is ApiKey, action, resource) unless { context.inScope };',
  },
  {
    id: 'agents-work', summary: 'Agents reach the hosts that their project allows, use its secrets there, and hand in changes.', locked: false,
    cedar: 'permit (principal is Agent, action in Action::"agent", resource) when { principal.project == resource.project };',
  },
  {
    id: 'project-border', summary: 'An agent reaches nothing outside its own project.', locked: true,
    cedar: 'forbid (principal is Agent, action, resource) unless { principal.project == resource.project };',
  },
  {
    id: 'merge-needs-a-person', summary: 'What an agent made is merged only after a person approved it.', locked: false,
    cedar: '@approval("merge")\nforbid (principal is Agent, action == Action::"change:merge", resource);',
  },
  {
    id: 'admins-decide', summary: 'Spending beyond a ceiling, and what a policy has wait, is decided by administrators.', locked: false,
    cedar: `forbid (principal, action == Action::"approval:decide", resource)
when { ["budget_breach", "policy", "delete", "infrastructure"].contains(resource.kind) } unless { principal in resource.admins || principal in Role::"super_admin" };`,
  },
]

const attribute = (type: string, required = true) => ({ type: 'EntityOrCommon', name: type, required })
const text = (required = true) => attribute('String', required)

/** Attributes of every resource; an empty string where it has no project or organisation. */
const RESOURCE = {
  type: 'Record',
  attributes: {
    viewers: attribute('Role'), developers: attribute('Role'), admins: attribute('Role'),
    organization: text(), project: text(),
    /** Of approvals: what is to be decided; of changes and secrets and hosts: their names; else the kind of the resource. */
    kind: text(), name: text(),
  },
} as const

/** Cedar's names of the kinds of resources. */
export const ENTITY_TYPES = {
  account: 'Account', organization: 'Organization', installation: 'Installation', project: 'Project', repository: 'Repository', session: 'Session', ticket: 'Ticket',
  question: 'Question', approval: 'Approval', change: 'Change', vm: 'MicroVm', secret: 'Secret', host: 'Host',
} as const

/** The schema of Cedar in its JSON form: what a policy may speak of. */
export const POLICY_SCHEMA = {
  '': {
    entityTypes: {
      Role: { memberOfTypes: ['Role'] },
      User: { memberOfTypes: ['Role'] },
      ApiKey: { memberOfTypes: ['Role', 'User'], shape: { type: 'Record', attributes: { user: attribute('User') } } },
      Agent: { memberOfTypes: [], shape: { type: 'Record', attributes: { name: text(), project: text(), organization: text() } } },
      ...Object.fromEntries(Object.values(ENTITY_TYPES).map((type) => [type, { memberOfTypes: [], shape: RESOURCE }])),
    },
    actions: {
      ...Object.fromEntries(ACTION_GROUPS.map((group) => [group, {}])),
      ...Object.fromEntries(ACTION_NAMES.map((action) => [action, {
        memberOf: [{ id: ACTIONS[action].group }],
        appliesTo: {
          principalTypes: ACTIONS[action].group === 'agent' ? ['Agent', 'User', 'ApiKey'] : ['User', 'ApiKey'],
          resourceTypes: [ENTITY_TYPES[ACTIONS[action].on]],
          context: { type: 'Record', attributes: { inScope: { type: 'EntityOrCommon', name: 'Bool', required: true } } },
        },
      }])),
    },
  },
}
