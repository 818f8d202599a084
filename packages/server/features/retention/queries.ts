import { sql } from 'kysely'
import type { Read } from '../../db/database.ts'

/** Tickets and sessions in these states are over: nobody takes them up again. */
const OVER_TICKETS = ['done', 'cancelled'] as const
const OVER_SESSIONS = ['completed', 'cancelled'] as const
/** Tables that name blobs only to look back at them; whatever any other table names is kept. */
const LOOK_BACK = new Set(['model_calls', 'questions', 'events'])
const DIGEST = /sha256:[0-9a-f]{64}/g

/** Blobs that something still needs: work that is not over, calls and questions since `since`, and whatever another table names. */
export async function neededDigests(read: Read, since: number): Promise<Set<string>> {
  const needed = new Set<string>()
  const calls = await read.selectFrom('model_calls').leftJoin('tickets', 'tickets.id', 'model_calls.ticket_id').leftJoin('design_sessions', 'design_sessions.id', 'model_calls.session_id')
    .select(['request_digest', 'response_digest'])
    .where((where) => where.or([
      where('model_calls.created_at', '>=', since), where('model_calls.state', '=', 'open'),
      where('tickets.state', 'not in', OVER_TICKETS),
      where.and([where('model_calls.ticket_id', 'is', null), where('design_sessions.state', 'not in', OVER_SESSIONS)]),
    ])).execute()
  const questions = await read.selectFrom('questions').innerJoin('tickets', 'tickets.id', 'questions.ticket_id').select('transcript_digest')
    .where((where) => where.or([where('questions.created_at', '>=', since), where('tickets.state', 'not in', OVER_TICKETS)])).execute()
  for (const digest of [...calls.flatMap((call) => [call.request_digest, call.response_digest]), ...questions.map((question) => question.transcript_digest)]) if (digest !== null) needed.add(digest)
  for (const table of await read.introspection.getTables()) {
    if (LOOK_BACK.has(table.name) || table.isView) continue
    for (const column of table.columns) {
      if (!/text|char|json/i.test(column.dataType)) continue
      const { rows } = await sql<{ value: string }>`select ${sql.ref(column.name)} as value from ${sql.table(table.name)} where ${sql.ref(column.name)} like '%sha256:%'`.execute(read)
      for (const { value } of rows) for (const [digest] of value.matchAll(DIGEST)) needed.add(digest)
    }
  }
  return needed
}

/** Attempts that ended before `before`, of tickets that have been over since before then. */
export async function attemptsLongOver(read: Read, repositoryId: string, before: number): Promise<Set<string>> {
  const rows = await read.selectFrom('attempts').innerJoin('tickets', 'tickets.id', 'attempts.ticket_id').select('attempts.id')
    .where('tickets.repository_id', '=', repositoryId).where('tickets.state', 'in', OVER_TICKETS).where('tickets.updated_at', '<', before).where('attempts.ended_at', '<', before).execute()
  return new Set(rows.map(({ id }) => id))
}

/** Check runs that ended before `before`, about main or about tickets that have been over since before then. */
export async function checksLongOver(read: Read, repositoryId: string, before: number): Promise<Set<string>> {
  const rows = await read.selectFrom('check_runs').leftJoin('tickets', 'tickets.id', 'check_runs.ticket_id').select('check_runs.id')
    .where('check_runs.repository_id', '=', repositoryId).where('check_runs.state', 'not in', ['queued', 'running']).where('check_runs.ended_at', '<', before)
    .where((where) => where.or([where('check_runs.ticket_id', 'is', null), where.and([where('tickets.state', 'in', OVER_TICKETS), where('tickets.updated_at', '<', before)])])).execute()
  return new Set(rows.map(({ id }) => id))
}

export async function repositoriesAndProjects(read: Read): Promise<{ id: string; slug: string; projectId: string; projectSlug: string }[]> {
  return await read.selectFrom('repositories').innerJoin('projects', 'projects.id', 'repositories.project_id')
    .select(['repositories.id', 'repositories.slug', 'projects.id as projectId', 'projects.slug as projectSlug']).orderBy('repositories.id').execute()
}
