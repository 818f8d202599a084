import type { Kysely } from 'kysely'
import type { Schema } from '../db/schema.ts'
import type { Authorization } from './authorization.ts'

/** A piece of work as policies see it: the agent at work, or `check` for a run of checks. */
export interface AgentAtWork { readonly id: string; readonly name: string; readonly projectId: string; readonly organizationId: string }

const CHECK = 'check'

/** Who is at work under this id in a project of this organisation. */
export async function agentAtWork(db: Kysely<Schema>, work: { kind: 'attempt' | 'check'; id: string }, project: { id: string; organizationId: string }): Promise<AgentAtWork> {
  const attempt = work.kind === 'attempt' ? await db.selectFrom('attempts').select('agent_name').where('id', '=', work.id).executeTakeFirst() : undefined
  return { id: work.id, name: attempt?.agent_name ?? CHECK, projectId: project.id, organizationId: project.organizationId }
}

/** Of these names those that policies let the agent act on. What would wait for a person is not among them: nobody is asked in the middle of work. */
export async function permitted<T>(authorization: Authorization, db: Kysely<Schema>, agent: AgentAtWork, action: 'egress:connect' | 'secret:use', things: readonly T[], nameOf: (thing: T) => { id: string; name: string }): Promise<T[]> {
  const kept: T[] = []
  for (const thing of things) {
    const resource = { kind: action === 'egress:connect' ? 'host' as const : 'secret' as const, ...nameOf(thing), organizationId: agent.organizationId, projectId: agent.projectId }
    if ((await authorization.decideFor(db, { kind: 'agent', ...agent }, action, resource)).outcome === 'allow') kept.push(thing)
  }
  return kept
}
