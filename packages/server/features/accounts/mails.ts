import type { DomainError } from '@swarm/core/errors.ts'
import type { Selectable } from 'kysely'
import type { Duty } from '../../coordinator/duty.ts'
import type { Database } from '../../db/database.ts'
import { json } from '../../db/json.ts'
import type { MailsTable } from '../../db/schema.ts'
import { signal, type Trx } from '../../db/unit.ts'
import { newId } from '../../ids.ts'
import type { Logger } from '../../logger.ts'
import type { Mailer } from '../../ports.ts'

/*
 * Mails are queued in the unit that causes them and sent by a duty. A kill between sending and marking sends one twice, with the same
 * Message-ID and the same words. What it says is made when it is sent, so that no link waits in the database.
 */

export type MailKind = 'invitation' | 'registration' | 'password_reset' | 'password_changed'
export type Mail = Selectable<MailsTable>
/** Makes the words of a mail; null when there is nobody to send it to any more. */
export type ComposeMail = (mail: Mail) => Promise<{ to: string; subject: string; text: string } | null>

const TRIES = 8
const FIRST_WAIT_MS = 15_000
const WAIT_CAP_MS = 60 * 60_000
/** What was sent is kept so long, ms, for whoever asks where a mail is. */
const KEPT_MS = 30 * 24 * 60 * 60_000

export async function queueMail(trx: Trx, mail: { kind: MailKind; recipient: string; data?: Readonly<Record<string, string>>; correlationId: string; now: number }): Promise<void> {
  await trx.insertInto('mails').values({
    id: newId('mail'), kind: mail.kind, recipient: mail.recipient, data: json(mail.data ?? {}), state: 'queued', tries: 0, next_try_at: mail.now, failure: null, correlation_id: mail.correlationId, created_at: mail.now, ended_at: null,
  }).execute()
  signal(trx, 'work')
}

export function mailDuty(deps: { db: Database; mailer: Mailer; compose: ComposeMail; now: () => number; logger: Logger }): Duty {
  const { db } = deps
  const end = async (mail: Mail, state: 'sent' | 'dropped' | 'failed' | 'queued', failure: string | null): Promise<void> => {
    await db.write((trx) => trx.updateTable('mails').set({ state, failure, ended_at: state === 'queued' ? null : deps.now() }).where('id', '=', mail.id).where('state', '=', 'queued').execute())
  }
  return {
    name: 'mails',
    async run() {
      const now = deps.now()
      const due = await db.read.selectFrom('mails').selectAll().where('state', '=', 'queued').where('next_try_at', '<=', now).orderBy('next_try_at').limit(1).executeTakeFirst()
      if (!due) return false
      // Taken by moving its next try: another replica, or this one after a kill, comes to it only then.
      const { numUpdatedRows } = await db.write((trx) => trx.updateTable('mails').set({ tries: due.tries + 1, next_try_at: now + Math.min(WAIT_CAP_MS, FIRST_WAIT_MS * 2 ** due.tries) })
        .where('id', '=', due.id).where('state', '=', 'queued').where('tries', '=', due.tries).executeTakeFirstOrThrow())
      if (numUpdatedRows === 0n) return true
      try {
        const words = await deps.compose(due)
        if (words) await deps.mailer.send({ id: due.id, ...words })
        await end(due, words ? 'sent' : 'dropped', null)
      } catch (error) {
        const problem = codeOf(error)
        const last = due.tries + 1 >= TRIES
        deps.logger.warn({ mailId: due.id, kind: due.kind, tries: due.tries + 1, problem }, last ? 'a mail could not be sent; it is given up' : 'a mail could not be sent; it is tried again')
        await end(due, last ? 'failed' : 'queued', problem)
      }
      return true
    },
    async nextAt() {
      const row = await db.read.selectFrom('mails').select('next_try_at').where('state', '=', 'queued').orderBy('next_try_at').limit(1).executeTakeFirst()
      return row?.next_try_at ?? null
    },
  }
}

/** Removes mails that ended long ago. */
export async function forgetMails(trx: Trx, now: number): Promise<void> {
  await trx.deleteFrom('mails').where('ended_at', '<', now - KEPT_MS).execute()
}

/** Why, without what the server said: it may quote the mail. */
function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown'
  const { code, responseCode } = error as Error & { code?: string | DomainError['code']; responseCode?: number }
  return [code ?? error.name, responseCode].filter((part) => part !== undefined).join(' ')
}
