import type { Kysely, Selectable } from 'kysely'
import type { AgentsTable, AgentVersionsTable, Schema } from '../../db/schema.ts'

export type AgentRow = Selectable<AgentsTable> & { definition: string }

function joined(db: Kysely<Schema>) {
  return db.selectFrom('agents')
    .innerJoin('agent_versions', (join) => join.onRef('agent_versions.name', '=', 'agents.name').onRef('agent_versions.version', '=', 'agents.version'))
    .selectAll('agents').select('agent_versions.definition')
}

export async function agents(db: Kysely<Schema>, part?: { after: string; limit: number }): Promise<AgentRow[]> {
  const query = joined(db).orderBy('agents.name')
  return (part === undefined ? query : query.where('agents.name', '>', part.after).limit(part.limit)).execute()
}

export async function agentByName(db: Kysely<Schema>, name: string): Promise<AgentRow | undefined> {
  return joined(db).where('agents.name', '=', name).executeTakeFirst()
}

export async function agentVersion(db: Kysely<Schema>, name: string, version: number): Promise<Selectable<AgentVersionsTable> | undefined> {
  return db.selectFrom('agent_versions').selectAll().where('name', '=', name).where('version', '=', version).executeTakeFirst()
}

export async function insertAgent(db: Kysely<Schema>, row: Selectable<AgentsTable>): Promise<void> {
  await db.insertInto('agents').values(row).execute()
}

export async function insertAgentVersion(db: Kysely<Schema>, row: Selectable<AgentVersionsTable>): Promise<void> {
  await db.insertInto('agent_versions').values(row).execute()
}

/** Compare-and-set on the version that was read. */
export async function raiseAgentVersion(db: Kysely<Schema>, name: string, from: number, at: number): Promise<boolean> {
  const result = await db.updateTable('agents').set({ version: from + 1, updated_at: at }).where('name', '=', name).where('version', '=', from).executeTakeFirst()
  return result.numUpdatedRows === 1n
}
