import { z } from 'zod'
import { AgentConfig, AgentLimits } from '../agent-protocol.ts'
import { endpoint } from '../endpoint.ts'
import { StatedVmLimits } from '../runner-protocol.ts'
import { pageOf, PageQuery, Slug, Time } from './shared.ts'

/** A registered agent: persona + template + model + limits. Every edit makes a new version; attempts keep the version they ran. */
export const AgentDefinition = z.object({
  description: z.string().max(2_000).default(''),
  config: AgentConfig,
  limits: AgentLimits.partial().default({}),
  vm: StatedVmLimits.default({}),
})
export type AgentDefinition = z.infer<typeof AgentDefinition>

export const Agent = z.object({ name: Slug, version: z.number().int(), definition: AgentDefinition, createdAt: Time, updatedAt: Time })
export type Agent = z.infer<typeof Agent>
const ByName = z.object({ name: z.string() })

export const listAgents = endpoint({
  method: 'GET', path: '/api/agents', access: ['person'], action: 'agent:read', on: 'installation', tag: 'agents', summary: 'Lists agent definitions by name', query: PageQuery, response: pageOf(Agent),
})
export const createAgent = endpoint({
  method: 'POST', path: '/api/agents', access: ['person'], action: 'agent:edit', on: 'installation', tag: 'agents', status: 201, summary: 'Registers an agent',
  body: z.object({ name: Slug, definition: AgentDefinition }), response: Agent,
})
export const showAgent = endpoint({
  method: 'GET', path: '/api/agents/:name', access: ['person'], action: 'agent:read', on: 'installation', tag: 'agents', summary: 'Shows an agent, the newest version unless one is named',
  params: ByName, query: z.object({ version: z.coerce.number().int().optional() }), response: Agent,
})
export const editAgent = endpoint({
  method: 'PUT', path: '/api/agents/:name', access: ['person'], action: 'agent:edit', on: 'installation', tag: 'agents', summary: 'Makes a new version of an agent',
  params: ByName, body: z.object({ definition: AgentDefinition, /** The version that was read; refused when another edit came first. */ version: z.number().int() }), response: Agent,
})
