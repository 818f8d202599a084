import { AgentDefinition } from '@swarm/contract/endpoints/agents.ts'
import type { Agent } from '@swarm/contract/endpoints/agents.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Kysely } from 'kysely'
import { fromJson, json } from '../../db/json.ts'
import type { Schema } from '../../db/schema.ts'
import type { Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import { agentByName, agents, agentVersion, insertAgent, insertAgentVersion, raiseAgentVersion } from './queries.ts'
import type { AgentRow } from './queries.ts'

function presentAgent(row: AgentRow): Agent {
  return { name: row.name, version: row.version, definition: fromJson(AgentDefinition, row.definition), createdAt: row.created_at, updatedAt: row.updated_at }
}

export async function requireAgent(db: Kysely<Schema>, name: string, version?: number): Promise<Agent> {
  const row = await agentByName(db, name)
  if (!row) throw new DomainError('not_found', { kind: 'agent', id: name })
  if (version === undefined || version === row.version) return presentAgent(row)
  const old = await agentVersion(db, name, version)
  if (!old) throw new DomainError('not_found', { kind: 'agent', id: `${name} version ${version}` })
  return { ...presentAgent(row), version, definition: fromJson(AgentDefinition, old.definition) }
}

/** The newest version, or undefined. */
export async function findAgent(db: Kysely<Schema>, name: string): Promise<Agent | undefined> {
  const row = await agentByName(db, name)
  return row && presentAgent(row)
}

/** By name: all, or a part of them. */
export async function listAgents(db: Kysely<Schema>, part?: { after: string; limit: number }): Promise<Agent[]> {
  return (await agents(db, part)).map(presentAgent)
}

export async function createAgent(trx: Trx, input: { id: string; name: string; definition: AgentDefinition; now: number; correlationId: string }): Promise<Agent> {
  if (await agentByName(trx, input.name)) throw new DomainError('name_taken', { kind: 'agent', name: input.name })
  await insertAgent(trx, { id: input.id, name: input.name, version: 1, created_at: input.now, updated_at: input.now })
  await insertAgentVersion(trx, { name: input.name, version: 1, definition: json(input.definition), created_at: input.now })
  await appendEvents(trx, [{ type: 'agent:update', projectId: null, subject: { kind: 'agent', id: input.name }, correlationId: input.correlationId, data: { version: 1 } }])
  return { name: input.name, version: 1, definition: input.definition, createdAt: input.now, updatedAt: input.now }
}

export async function editAgent(trx: Trx, input: { name: string; definition: AgentDefinition; version: number; now: number; correlationId: string }): Promise<Agent> {
  const current = await requireAgent(trx, input.name)
  if (current.version !== input.version || !await raiseAgentVersion(trx, input.name, input.version, input.now)) {
    throw new DomainError('version_conflict', { kind: 'agent', id: input.name, current: current.version, given: input.version })
  }
  const version = input.version + 1
  await insertAgentVersion(trx, { name: input.name, version, definition: json(input.definition), created_at: input.now })
  await appendEvents(trx, [{ type: 'agent:update', projectId: null, subject: { kind: 'agent', id: input.name }, correlationId: input.correlationId, data: { version } }])
  return { ...current, version, definition: input.definition, updatedAt: input.now }
}
