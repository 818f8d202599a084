import { randomUUID } from 'node:crypto'
import { sql, type Kysely } from 'kysely'
import { dialectOf } from '../dialect.ts'

/** `events`, which the database itself keeps append-only, and `meta` (key, value) with the epoch of event cursors. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.createTable('meta')
    .addColumn('key', 'text', (column) => column.primaryKey())
    .addColumn('value', 'text', (column) => column.notNull())
    .execute()
  await sql`insert into meta (key, value) values ('epoch', ${randomUUID()})`.execute(db)
  if (dialectOf(db) === 'postgres') await upPostgres(db)
  else await upSqlite(db)
}

async function upSqlite(db: Kysely<unknown>): Promise<void> {
  // autoincrement: a seq is never given twice, whatever happens to the last rows.
  await sql`create table events (
    seq integer primary key autoincrement, type text not null, project_id text, subject_kind text not null,
    subject_id text not null, data text not null, correlation_id text not null, at bigint not null)`.execute(db)
  await sql`create trigger events_no_update before update on events begin select raise(abort, 'events are append-only'); end`.execute(db)
  await sql`create trigger events_no_delete before delete on events begin select raise(abort, 'events are append-only'); end`.execute(db)
}

async function upPostgres(db: Kysely<unknown>): Promise<void> {
  // Readers order by (xid, seq) below the oldest running transaction: commit order is not sequence order.
  await sql`create table events (
    seq bigint generated always as identity primary key, xid xid8 not null default pg_current_xact_id(), type text not null,
    project_id text, subject_kind text not null, subject_id text not null, data text not null, correlation_id text not null,
    at bigint not null)`.execute(db)
  await sql`create index events_order on events (xid, seq)`.execute(db)
  await sql`create function events_append_only() returns trigger language plpgsql as
    $$ begin raise exception 'events are append-only' using errcode = 'integrity_constraint_violation'; end $$`.execute(db)
  await sql`create trigger events_append_only before update or delete or truncate on events
    for each statement execute function events_append_only()`.execute(db)
  await sql`insert into meta (key, value) select 'cluster', system_identifier::text from pg_control_system()`.execute(db)
}
