import type { AgentTask } from '@swarm/contract/agent-protocol.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Kysely, Selectable } from 'kysely'
import { inProjects } from '../../db/projects.ts'
import type { QuestionsTable, Schema } from '../../db/schema.ts'
import type { Database } from '../../db/database.ts'
import type { Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import { requireTicket } from './commands.ts'
import type { TicketDependencies } from './commands.ts'
import { attemptById } from './queries.ts'
import type { AttemptRow } from './queries.ts'
import { moveTicket } from './transition.ts'

export type QuestionRow = Selectable<QuestionsTable>

/** What a resumed attempt needs to go on: the conversation so far and the answer; undefined when it was not parked. */
export async function resumeOf(deps: { db: Database; readTranscript(digest: string): Promise<unknown[]> }, attempt: AttemptRow): Promise<AgentTask['resume']> {
  const question = await deps.db.read.selectFrom('questions').selectAll().where('attempt_id', '=', attempt.id).orderBy('created_at', 'desc').orderBy('id').executeTakeFirst()
  if (!question || question.answer === null) return undefined
  return { transcript: await deps.readTranscript(question.transcript_digest), toolUseId: question.tool_use_id, answer: question.answer }
}

/** What people answered earlier attempts of this ticket, in words for the agent; empty when nothing. An attempt's own answer comes with its conversation. */
export async function answeredBefore(db: Kysely<Schema>, attempt: AttemptRow): Promise<string> {
  const rows = await db.selectFrom('questions').select(['text', 'answer']).where('ticket_id', '=', attempt.ticket_id).where('attempt_id', '!=', attempt.id)
    .where('answer', 'is not', null).orderBy('created_at').orderBy('id').execute()
  if (rows.length === 0) return ''
  return ['', '', 'Asked by earlier attempts and answered by a person (do not ask again):', ...rows.map(({ text, answer }) => `- ${text}\n  Answer: ${answer}`)].join('\n')
}

export async function insertQuestion(trx: Trx, row: QuestionRow): Promise<void> {
  await trx.insertInto('questions').values(row).execute()
}

/** The question that a parked attempt waits for, if it has no answer yet. */
export async function openQuestionOf(db: Kysely<Schema>, attemptId: string): Promise<QuestionRow | undefined> {
  return db.selectFrom('questions').selectAll().where('attempt_id', '=', attemptId).where('answer', 'is', null).executeTakeFirst()
}

/** A question with the state of the attempt that asked it. */
export type AskedQuestion = QuestionRow & { readonly attempt_state: string }

function asked(db: Kysely<Schema>) {
  return db.selectFrom('questions').innerJoin('attempts', 'attempts.id', 'questions.attempt_id').selectAll('questions').select('attempts.state as attempt_state')
}

/** Oldest first; `open`: those that a parked attempt still waits for. `after` is the (created_at, id) of the last one seen. */
export async function questions(db: Kysely<Schema>, filter: { open: boolean; projects: 'all' | readonly string[]; ticketId?: string | undefined }, after: { at: number; id: string } | null = null, limit = 200): Promise<AskedQuestion[]> {
  let query = asked(db).orderBy('questions.created_at').orderBy('questions.id').limit(limit)
  if (filter.open) query = query.where('questions.answer', 'is', null).where('attempts.state', '=', 'parked')
  query = inProjects(query, 'questions.project_id', filter.projects)
  if (filter.ticketId !== undefined) query = query.where('questions.ticket_id', '=', filter.ticketId)
  if (after) query = query.where((where) => where.or([where('questions.created_at', '>', after.at), where.and([where('questions.created_at', '=', after.at), where('questions.id', '>', after.id)])]))
  return query.execute()
}

/** @throws not_found */
export async function requireQuestion(db: Kysely<Schema>, id: string): Promise<AskedQuestion> {
  const question = await asked(db).where('questions.id', '=', id).executeTakeFirst()
  if (!question) throw new DomainError('not_found', { kind: 'question', id })
  return question
}

/** Records the answer once; the ticket becomes claimable and its parked attempt goes on. The same answer again is answered alike. */
export async function answer(trx: Trx, deps: TicketDependencies, input: { questionId: string; answer: string; by: string; correlationId: string }): Promise<AskedQuestion> {
  const ticket = await requireTicket(trx, (await requireQuestion(trx, input.questionId)).ticket_id)
  // Read under the lock of its ticket: of two who answer at once the second sees what the first has said.
  const question = await requireQuestion(trx, input.questionId)
  if (question.answer !== null) {
    if (question.answer === input.answer) return question
    throw new DomainError('already_decided', { kind: 'question', id: question.id, by: question.answered_by, decision: question.answer })
  }
  const attempt = await attemptById(trx, question.attempt_id)
  if (attempt?.state !== 'parked') throw new DomainError('question_moot', { id: question.id, state: attempt?.state ?? 'gone' })
  const now = deps.now()
  const result = await trx.updateTable('questions').set({ answer: input.answer, answered_by: input.by, answered_at: now }).where('id', '=', question.id).where('answer', 'is', null).executeTakeFirst()
  if (result.numUpdatedRows !== 1n) throw new DomainError('already_decided', { kind: 'question', id: question.id, by: 'someone else', decision: 'answered' })
  await appendEvents(trx, [{
    type: 'ticket:progress', projectId: question.project_id, subject: { kind: 'ticket', id: question.ticket_id }, correlationId: input.correlationId,
    data: { questionId: question.id, attemptId: question.attempt_id, answered: true, answer: input.answer, by: input.by },
  }])
  if (ticket.state === 'on_hold') await moveTicket(trx, ticket, 'ready', { reason: 'answered', correlationId: input.correlationId, now, attemptId: question.attempt_id })
  return { ...question, answer: input.answer, answered_by: input.by, answered_at: now }
}
