import { sql, type Kysely } from 'kysely'

/**
 * Why an attempt is to stop, as a code beside the words: a person's words never mean anything to a program. A stall leaves
 * its ticket at work, a person takes it out of work: so what older rows mean can be told.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('attempts').addColumn('stop_code', 'text').execute()
  await sql`update attempts set stop_code = case when stop_reason = 'stalled'
    and (select tickets.state from tickets where tickets.id = attempts.ticket_id) in ('claimed', 'in_progress') then 'stalled' else 'stopped' end
    where stop_reason is not null`.execute(db)
}
