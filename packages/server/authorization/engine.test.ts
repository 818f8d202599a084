import { ACTION_NAMES, ACTIONS, type Action, type Role, scopeCovers } from '@swarm/core/policy/actions.ts'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createPolicyEngine, policyProblems, type PolicySet, type Rights, SHIPPED_ONLY, type Subject } from './engine.ts'
import type { Resource } from './resources.ts'

const ORG = 'ORG-A'
const PROJECT = 'PRJ-A'

function resourceFor(action: Action, more: Partial<Resource> = {}): Resource {
  const kind = ACTIONS[action].on
  if (kind === 'installation' || kind === 'account') return { kind, id: kind, organizationId: null, projectId: null }
  return { kind, id: `${kind}-1`, organizationId: ORG, projectId: kind === 'organization' ? null : PROJECT, ...more }
}
const rights = (more: Partial<Rights> = {}): Rights => ({ superAdmin: false, organizations: new Map(), projects: new Map(), ...more })
const user = (more: Partial<Rights> = {}): Subject => ({ kind: 'user', id: 'USR-1', rights: rights(more) })
const member = (role: Role): Subject => user({ organizations: new Map([[ORG, role]]) })
const agent: Subject = { kind: 'agent', id: 'ATT-1', name: 'developer', projectId: PROJECT, organizationId: ORG }
const own = (...texts: string[]): PolicySet => ({ own: texts.map((cedar, n) => ({ id: `own-${n}`, cedar })), disabled: [] })

const engine = createPolicyEngine()
const outcome = (subject: Subject, action: Action, policies = SHIPPED_ONLY, more: Partial<Resource> = {}) => engine.decide({ subject, action, resource: resourceFor(action, more), policies }).outcome

/** What a role may do by the shipped policies: the groups of actions. */
const GROUPS = { viewer: ['read', 'own'], developer: ['read', 'work', 'own'], admin: ['read', 'work', 'administer', 'own'] } as const

describe('the shipped policies', () => {
  test.each(['viewer', 'developer', 'admin'] as const)('let a %s do what is in the groups of that role, and nothing else', (role) => {
    for (const action of ACTION_NAMES) {
      expect([action, outcome(member(role), action)]).toEqual([action, (GROUPS[role] as readonly string[]).includes(ACTIONS[action].group) ? 'allow' : 'deny'])
    }
  })

  test('let a super administrator do all that persons do, in organisations where they are no member', () => {
    for (const action of ACTION_NAMES) expect([action, outcome(user({ superAdmin: true }), action)]).toEqual([action, ACTIONS[action].group === 'agent' ? 'deny' : 'allow'])
  })

  test('let somebody of another organisation do nothing but use their own account', () => {
    const stranger = user({ organizations: new Map([['ORG-B', 'admin']]), projects: new Map([['PRJ-B', 'developer']]) })
    for (const action of ACTION_NAMES) {
      const { group, on } = ACTIONS[action]
      // What everybody who is signed in sees of the installation: its agents, runners, version.
      const allowed = group === 'own' || (on === 'installation' && group === 'read')
      expect([action, outcome(stranger, action)]).toEqual([action, allowed ? 'allow' : 'deny'])
    }
  })

  test('keep a project that is for its members from others of the organisation, its administrators aside', () => {
    const closed = { membersOnly: true }
    expect(outcome(member('developer'), 'ticket:read', SHIPPED_ONLY, closed)).toBe('deny')
    expect(outcome(member('admin'), 'ticket:hold', SHIPPED_ONLY, closed)).toBe('allow')
    const inside = (role: 'viewer' | 'developer'): Subject => user({ organizations: new Map([[ORG, 'viewer']]), projects: new Map([[PROJECT, role]]) })
    expect(outcome(inside('viewer'), 'ticket:read', SHIPPED_ONLY, closed)).toBe('allow')
    expect(outcome(inside('viewer'), 'ticket:hold', SHIPPED_ONLY, closed)).toBe('deny')
    expect(outcome(inside('developer'), 'ticket:hold', SHIPPED_ONLY, closed)).toBe('allow')
    expect(outcome(user({ projects: new Map([[PROJECT, 'developer']]) }), 'ticket:read', SHIPPED_ONLY, closed), 'who left the organisation').toBe('deny')
  })

  test('leave spending beyond a ceiling, and what policies have wait, to administrators', () => {
    for (const about of ['budget_breach', 'policy', 'delete', 'infrastructure']) expect([about, outcome(member('developer'), 'approval:decide', SHIPPED_ONLY, { about }), outcome(user({ superAdmin: true }), 'approval:decide', SHIPPED_ONLY, { about })]).toEqual([about, 'deny', 'allow'])
    expect(outcome(member('developer'), 'approval:decide', SHIPPED_ONLY, { about: 'merge' })).toBe('allow')
    expect(outcome(member('developer'), 'approval:decide', SHIPPED_ONLY, { about: 'budget_breach' })).toBe('deny')
    expect(outcome(member('admin'), 'approval:decide', SHIPPED_ONLY, { about: 'budget_breach' })).toBe('allow')
  })

  test('have an agent wait for a person before its change is merged, and keep it inside its project', () => {
    expect(engine.decide({ subject: agent, action: 'change:merge', resource: resourceFor('change:merge'), policies: SHIPPED_ONLY })).toMatchObject({ outcome: 'approval', approval: 'merge', policies: ['merge-needs-a-person'] })
    expect(outcome(agent, 'egress:connect')).toBe('allow')
    for (const action of ['change:merge', 'egress:connect', 'secret:use'] as const) expect(outcome(agent, action, SHIPPED_ONLY, { projectId: 'PRJ-B' })).toBe('deny')
  })

  test('let a key do no more than its scopes name and its user may', () => {
    fc.assert(fc.property(fc.constantFrom(...ACTION_NAMES), fc.constantFrom('viewer', 'developer', 'admin'), fc.array(fc.constantFrom('*', 'read', 'work', 'ticket:*', 'ticket:hold', 'approval:decide', 'secret:edit'), { maxLength: 3 }), (action, role, scopes) => {
      const held = rights({ organizations: new Map([[ORG, role as Role]]) })
      const byKey = outcome({ kind: 'key', id: 'TOK-1', userId: 'USR-1', scopes, rights: held }, action)
      expect(byKey).toBe(scopeCovers(scopes, action) ? outcome(member(role as Role), action) : 'deny')
    }))
  })
})

describe('policies of an organisation', () => {
  test('are refused with what is wrong: syntax, names, types, templates, more than one', () => {
    expect(policyProblems('permit (principal, action == Action::"ticket:hold", resource);')).toEqual([])
    for (const wrong of [
      'permit (principal, action', 'permit (principal, action == Action::"ticket:burn", resource);', 'permit (principal, action == Action::"ticket:hold", resource) when { resource.owner == "x" };',
      'permit (principal == ?principal, action, resource);', 'permit (principal, action, resource); permit (principal, action, resource);', '', 'permit (principal, action == Action::"ticket:hold", resource) when { resource.name };',
    ]) expect(policyProblems(wrong), wrong).not.toEqual([])
  })

  test('open nothing to strangers, nothing of the installation, and no scope of a key, whatever they permit', () => {
    const open = own('permit (principal, action, resource);', 'permit (principal is ApiKey, action, resource);')
    const stranger = user({ organizations: new Map([['ORG-B', 'admin']]) })
    for (const action of ACTION_NAMES) {
      if (ACTIONS[action].on !== 'installation' && ACTIONS[action].on !== 'account' && ACTIONS[action].group !== 'agent') expect([action, outcome(stranger, action, open)]).toEqual([action, 'deny'])
      if (ACTIONS[action].group === 'install') expect([action, outcome(member('admin'), action, open)]).toEqual([action, 'deny'])
      expect(outcome({ kind: 'key', id: 'TOK-1', userId: 'USR-1', scopes: [], rights: rights({ organizations: new Map([[ORG, 'admin']]) }) }, action, open)).toBe('deny')
    }
    const disabled = { own: open.own, disabled: ['organization-border', 'installation-border', 'key-scopes', 'project-border'] }
    expect(outcome(stranger, 'ticket:read', disabled)).toBe('deny')
  })

  test('may let a viewer do more, and forbid an administrator something', () => {
    expect(outcome(member('viewer'), 'ticket:retry', own('permit (principal in Role::"ORG-A/viewer", action == Action::"ticket:retry", resource);'))).toBe('allow')
    expect(engine.decide({ subject: member('admin'), action: 'vm:exec', resource: resourceFor('vm:exec'), policies: own('forbid (principal, action == Action::"vm:exec", resource);') })).toMatchObject({ outcome: 'deny', policies: ['own-0'] })
  })

  test('may have an action wait for approval, unless something else forbids it or nothing permits it', () => {
    const asked = own('@approval("policy") forbid (principal, action == Action::"repository:push", resource);')
    expect(engine.decide({ subject: member('developer'), action: 'repository:push', resource: resourceFor('repository:push'), policies: asked })).toMatchObject({ outcome: 'approval', approval: 'policy', policies: ['own-0'] })
    expect(outcome(member('viewer'), 'repository:push', asked)).toBe('deny')
    const both = own('@approval("policy") forbid (principal, action == Action::"repository:push", resource);', 'forbid (principal, action == Action::"repository:push", resource);')
    expect(outcome(member('developer'), 'repository:push', both)).toBe('deny')
  })

  test('may let an agent merge by itself what is small in their eyes, once the shipped policy is switched off', () => {
    expect(outcome(agent, 'change:merge', { own: [], disabled: ['merge-needs-a-person'] })).toBe('allow')
  })

  test('that fail count as a refusal', () => {
    // Overflow is a fault that the schema cannot see.
    const faulty = own('forbid (principal, action == Action::"ticket:hold", resource) when { 9223372036854775807 + 1 > 0 };')
    expect(engine.decide({ subject: member('admin'), action: 'ticket:hold', resource: resourceFor('ticket:hold'), policies: faulty })).toMatchObject({ outcome: 'deny', faults: ['own-0'] })
  })

  test('that are only tried out change nothing of what another engine decides by', () => {
    const trial = createPolicyEngine()
    const request = { subject: member('viewer'), action: 'ticket:retry' as const, resource: resourceFor('ticket:retry') }
    expect(engine.decide({ ...request, policies: SHIPPED_ONLY }).outcome).toBe('deny')
    expect(trial.decide({ ...request, policies: own('permit (principal, action, resource);') }).outcome).toBe('allow')
    expect(engine.decide({ ...request, policies: SHIPPED_ONLY }).outcome).toBe('deny')
  })
})
