import { AgentDefinition } from '@swarm/contract/endpoints/agents.ts'
import type { Database } from '../../db/database.ts'
import { newId } from '../../ids.ts'
import type { PlannedTicket } from '../../ports.ts'
import { claimTicket } from './claim.ts'
import type { ClaimRules } from './claim.ts'
import { createTicketCommands } from './commands.ts'
import type { TicketDependencies } from './commands.ts'
import type { AttemptRow } from './queries.ts'

export interface EngineForTests {
  readonly deps: TicketDependencies
  readonly rules: ClaimRules
  readonly commands: ReturnType<typeof createTicketCommands>
  readonly clock: { now: number }
  readonly projectId: string
  readonly repositoryId: string
  plan(tickets: readonly (Partial<PlannedTicket> & { key: string })[]): Promise<Map<string, string>>
  claim(runnerId?: string, claimKey?: string): Promise<AttemptRow | null>
  state(ticketId: string): Promise<string>
}

/** The tickets feature over a fresh database, with a clock that the test moves. */
export async function engineOver(db: Database, options: { concurrency?: number; perProject?: number } = {}): Promise<EngineForTests> {
  const clock = { now: 1_700_000_000_000 }
  const projectId = newId('project')
  const repositoryId = newId('repository')
  const runnerId = newId('runner')
  await db.write(async (trx) => {
    await trx.insertInto('projects').values({ id: projectId, slug: projectId.toLowerCase(), name: 'p', settings: '{}', created_at: clock.now }).execute()
    await trx.insertInto('repositories').values({ id: repositoryId, project_id: projectId, slug: 'r', default_branch: 'main', origin: null, created_at: clock.now }).execute()
    await trx.insertInto('runners').values({ id: runnerId, name: runnerId.toLowerCase(), boot_id: null, driver: 'qemu', isolates: 1, capacity: 4, seen_at: clock.now, created_at: clock.now, no_room: null }).execute()
  })
  const deps: TicketDependencies = { now: () => clock.now, random: () => 0, makeId: newId }
  const rules: ClaimRules = {
    leaseTtlMs: 30_000, concurrency: options.concurrency ?? 100, concurrencyOf: async () => options.perProject ?? 100,
    agentVersion: async (_, name) => name === 'developer' ? { version: 1, minutes: AgentDefinition.parse({ config: { template: 'shell', commands: ['true'] } }).limits.minutes ?? 30 } : undefined,
  }
  const commands = createTicketCommands(deps)
  return {
    deps, rules, commands, clock, projectId, repositoryId,
    plan: (tickets) => db.write((trx) => commands.createMany(trx, {
      projectId, repositoryId, sessionId: null, correlationId: 'test',
      tickets: tickets.map((ticket) => ({ title: ticket.key, description: '', acceptance: [], scope: [], requirements: [], dependsOn: [], storyPoints: 1, wave: 1, agent: 'developer', ...ticket })),
    })),
    claim: (runner = runnerId, claimKey = newId('call')) => db.write((trx) => claimTicket(trx, deps, rules, runner, claimKey)),
    state: async (ticketId) => (await db.read.selectFrom('tickets').select('state').where('id', '=', ticketId).executeTakeFirstOrThrow()).state,
  }
}
