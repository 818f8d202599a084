import { sql, type Kysely } from 'kysely'

/**
 * From here on every state of a merge entry, a model call and the use of an approval has its event. Rows that are older
 * have not, and the checker compares those only as far as their events go. `0`: the database never held others.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`insert into meta (key, value) select 'events_complete_since', case when exists (select 1 from events) then ${String(Date.now())} else '0' end`.execute(db)
}
