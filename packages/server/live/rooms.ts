import { DomainError } from '@swarm/core/errors.ts'
import type { Action } from '@swarm/core/policy/actions.ts'
import type { Authorization } from '../authorization/authorization.ts'
import type { ResolverName } from '../authorization/resources.ts'
import type { Principal } from '../http/tokens.ts'

/** What somebody must be allowed to be in a room of a kind. */
const ROOMS = {
  session: { resource: 'session', action: 'session:read' }, ticket: { resource: 'ticket', action: 'ticket:read' },
  project: { resource: 'project', action: 'project:read' }, tenant: { resource: 'organization', action: 'organization:read' },
} as const satisfies Record<string, { resource: ResolverName; action: Action }>

/** The room by the id of what it is about, once the policies let this caller in. @throws DomainError not_found, forbidden */
export async function enterRoom(authorization: Authorization, principal: Principal, room: string, correlationId: string): Promise<string> {
  // What is in it is chosen by project.
  if (room === 'vms') return room
  const [kind = '', id = ''] = room.split(':')
  const { resource: name, action } = ROOMS[kind as keyof typeof ROOMS]
  const resource = await authorization.resolve(action, name, id)
  await authorization.require(principal, action, resource, { asked: { kind: name, id }, via: `room ${kind}`, correlationId, request: { room } })
  return `${kind}:${resource.id}`
}

/** Whether the policies still let this caller be in a room that was entered. */
export async function staysIn(authorization: Authorization, principal: Principal, room: string): Promise<boolean> {
  try {
    return await enterRoom(authorization, principal, room, 'rights-changed') === room
  } catch (error) {
    if (error instanceof DomainError && error.fault === 'user') return false
    throw error
  }
}
