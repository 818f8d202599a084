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

/** `open`: those that a parked attempt still waits for. */
export async function questions(db: Kysely<Schema>, filter: { open: boolean; projects: 'all' | readonly string[] }): Promise<QuestionRow[]> {
  let query = db.selectFrom('questions').selectAll().orderBy('created_at').limit(500)
  if (filter.open) {
    query = query.where('answer', 'is', null)
      .where((eb) => eb.exists(eb.selectFrom('attempts').select('attempts.id').whereRef('attempts.id', '=', 'questions.attempt_id').where('attempts.state', '=', 'parked')))
  }
  return inProjects(query, 'project_id', filter.projects).execute()
}

/** Records the answer once; the ticket becomes claimable and its parked attempt goes on. The same answer again is answered alike. */
export async function answer(trx: Trx, deps: TicketDependencies, input: { questionId: string; answer: string; by: string; correlationId: string }): Promise<QuestionRow> {
  const question = await trx.selectFrom('questions').selectAll().where('id', '=', input.questionId).executeTakeFirst()
  if (!question) throw new DomainError('not_found', { kind: 'question', id: input.questionId })
  if (question.answer !== null) {
    if (question.answer === input.answer) return question
    throw new DomainError('already_decided', { kind: 'question', id: question.id, by: question.answered_by, decision: question.answer })
  }
  const ticket = await requireTicket(trx, question.ticket_id)
  const attempt = await attemptById(trx, question.attempt_id)
  if (attempt?.state !== 'parked') throw new DomainError('question_moot', { id: question.id, state: attempt?.state ?? 'gone' })
  const now = deps.now()
  const result = await trx.updateTable('questions').set({ answer: input.answer, answered_by: input.by, answered_at: now }).where('id', '=', question.id).where('answer', 'is', null).executeTakeFirst()
  if (result.numUpdatedRows !== 1n) throw new DomainError('already_decided', { kind: 'question', id: question.id, by: 'someone else', decision: 'answered' })
  await appendEvents(trx, [{
    type: 'ticket:progress', projectId: question.project_id, subject: { kind: 'ticket', id: question.ticket_id }, correlationId: input.correlationId,
    data: { questionId: question.id, attemptId: question.attempt_id, answered: true, answer: input.answer },
  }])
  if (ticket.state === 'on_hold') await moveTicket(trx, ticket, 'ready', { reason: 'answered', correlationId: input.correlationId, now, attemptId: question.attempt_id })
  return { ...question, answer: input.answer, answered_by: input.by, answered_at: now }
}
