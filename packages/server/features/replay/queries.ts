import type { Selectable } from 'kysely'
import type { Read } from '../../db/database.ts'
import type { AttemptRecordingsTable, AttemptsTable, ModelCallsTable } from '../../db/schema.ts'
import type { Trx } from '../../db/unit.ts'

type Db = Read | Trx
export type CallRow = Selectable<ModelCallsTable>
export type RecordingRow = Selectable<AttemptRecordingsTable>

export async function attemptOf(db: Db, id: string): Promise<(Selectable<AttemptsTable> & { repository_id: string }) | undefined> {
  return await db.selectFrom('attempts').innerJoin('tickets', 'tickets.id', 'attempts.ticket_id').selectAll('attempts').select('tickets.repository_id').where('attempts.id', '=', id).executeTakeFirst()
}
/** False when this stay was recorded before: it was described the same then. */
export async function addRecording(trx: Trx, row: RecordingRow): Promise<boolean> {
  const result = await trx.insertInto('attempt_recordings').values(row).onConflict((conflict) => conflict.columns(['attempt_id', 'fence']).doNothing()).executeTakeFirst()
  return result.numInsertedOrUpdatedRows === 1n
}
export async function recordingsOf(db: Db, attemptId: string): Promise<RecordingRow[]> {
  return await db.selectFrom('attempt_recordings').selectAll().where('attempt_id', '=', attemptId).orderBy('fence').execute()
}
/** In the order in which they were made: an agent makes one call at a time. */
export async function callsOf(db: Db, attemptId: string): Promise<CallRow[]> {
  return await db.selectFrom('model_calls').selectAll().where('attempt_id', '=', attemptId).orderBy('created_at').orderBy('ended_at').orderBy('id').execute()
}
export async function imagesOf(db: Db, attemptId: string): Promise<string[]> {
  const rows = await db.selectFrom('vms').select('image_digest').distinct().where('work_id', '=', attemptId).where('image_digest', 'is not', null).execute()
  return rows.flatMap((row) => row.image_digest ?? [])
}
