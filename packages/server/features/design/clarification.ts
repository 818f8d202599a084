import { clarifyRequest, covered, MAX_QUESTIONS, sameQuestion, type Exchange, type Wanted } from '@swarm/core/design/clarify.ts'
import type { SessionState } from '@swarm/core/design/session.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { z } from 'zod'
import type { Database } from '../../db/database.ts'
import { json } from '../../db/json.ts'
import type { Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import { ClarifyAnswer } from './answers.ts'
import { answerClarification, clarificationsOf, insertClarification, patchClarification, type ClarificationRow, type SessionRow } from './queries.ts'
import type { Ask } from './steps.ts'
import { lockSession, moveSession } from './transition.ts'

interface ClarificationDependencies { readonly db: Database; readonly now: () => number }

export function exchangesOf(rows: readonly ClarificationRow[]): Exchange[] {
  return rows.map(({ number, question, answer }) => ({ number, question, answer }))
}

/**
 * Asks the model for scores and the next question, and writes that question down. Steps: `clarify:<number of the question>`, and
 * `clarify:<number>:again` when it repeats one that was asked; if it repeats one again, there is nothing more to ask.
 * @returns the session as it is then: still `clarifying` when a person has to answer
 */
export async function clarify(deps: ClarificationDependencies, session: SessionRow, wanted: Omit<Wanted, 'exchanges'>, ask: Ask): Promise<SessionRow> {
  const rows = await clarificationsOf(deps.db.read, session.id)
  const last = rows.at(-1)
  if (last !== undefined && last.answer === null) return session
  if (rows.length >= MAX_QUESTIONS) return deps.db.write((trx) => end(trx, deps, session, rows.length, null))
  const answer = await nextQuestion({ ...wanted, exchanges: exchangesOf(rows) }, rows, ask)
  return deps.db.write((trx) => end(trx, deps, session, rows.length, { ...answer, files: answer.question?.files.filter((path) => wanted.context.analysis.files.includes(path)) ?? [] }))
}

type Answer = z.output<typeof ClarifyAnswer>

async function nextQuestion(wanted: Wanted, rows: readonly ClarificationRow[], ask: Ask): Promise<Answer> {
  const step = `clarify:${rows.length + 1}`
  const repeats = ({ question }: Answer): ClarificationRow | undefined => (question === null ? undefined : rows.find((row) => sameQuestion(row.question, question.text)))
  const first = await ask(step, clarifyRequest(wanted, step, null), ClarifyAnswer)
  const again = covered(first.coverage) ? undefined : repeats(first)
  if (again === undefined) return first
  const note = `You asked "${first.question?.text ?? ''}", which is question ${again.number} again. Ask something else, or nothing.`
  const second = await ask(`${step}:again`, clarifyRequest(wanted, `${step}:again`, note), ClarifyAnswer)
  return repeats(second) === undefined ? second : { ...second, question: null }
}

/** Writes down what came of a step: a question to answer, or the end of the questions. */
async function end(trx: Trx, deps: ClarificationDependencies, session: SessionRow, asked: number, step: (Answer & { files: readonly string[] }) | null): Promise<SessionRow> {
  const current = await lockSession(trx, session.id)
  // Skipped, edited or cancelled meanwhile: what was asked about is no longer what is wanted.
  if (current.state !== 'clarifying' || current.spec_version !== session.spec_version) return current
  const now = deps.now()
  const coverage = step === null ? current.coverage : json(step.coverage)
  if (step !== null && asked > 0) await patchClarification(trx, session.id, asked, { acknowledgement: step.acknowledgement })
  const question = step?.question ?? null
  if (step === null || question === null || covered(step.coverage)) {
    await message(trx, current, { from: 'clarifier', number: null, acknowledgement: step?.acknowledgement ?? '', coverage: step?.coverage ?? null, done: true })
    return moveSession(trx, current, 'design', { patch: { clarify: 'closed', coverage }, now, correlationId: session.correlation_id })
  }
  const number = asked + 1
  await insertClarification(trx, {
    session_id: session.id, number, question: question.text, area: question.area, options: json(question.options), files: json(step.files), coverage: json(step.coverage),
    answer: null, answered_by: null, answered_at: null, answered_version: null, acknowledgement: null, created_at: now,
  })
  await trx.updateTable('design_sessions').set({ coverage, updated_at: now }).where('id', '=', session.id).execute()
  await message(trx, current, { from: 'clarifier', number, text: question.text, options: question.options, files: step.files, acknowledgement: step.acknowledgement, coverage: step.coverage, done: false })
  return { ...current, coverage, updated_at: now }
}

/**
 * A person's answer to the open question: the first counts, the same one again is answered alike.
 * @throws DomainError not_found, question_closed
 */
export async function answerQuestion(trx: Trx, deps: ClarificationDependencies, input: { sessionId: string; number: number; answer: string; by: string; correlationId: string }): Promise<SessionRow> {
  const session = await lockSession(trx, input.sessionId)
  const row = (await clarificationsOf(trx, session.id)).find(({ number }) => number === input.number)
  if (!row) throw new DomainError('not_found', { kind: 'question', id: `${input.number} of ${session.id}` })
  if (row.answer === input.answer) return session
  const closed = (): DomainError => new DomainError('question_closed', { number: input.number, id: session.id, why: row.answer === null ? `it is ${session.state}` : `${row.answered_by ?? 'somebody'} has answered it` })
  if (session.state !== ('clarifying' satisfies SessionState) || row.answer !== null) throw closed()
  if (!await answerClarification(trx, session.id, input.number, { answer: input.answer, answered_by: input.by, answered_at: deps.now(), answered_version: session.spec_version })) throw closed()
  await message(trx, session, { from: input.by, number: input.number, text: input.answer }, input.correlationId)
  return session
}

/** A version that a person writes is the answer to what is open: the next question is asked on it. */
export async function answerByVersion(trx: Trx, deps: ClarificationDependencies, session: SessionRow, input: { version: number; by: string; correlationId: string }): Promise<void> {
  const open = (await clarificationsOf(trx, session.id)).find(({ answer }) => answer === null)
  if (session.state !== 'clarifying' || open === undefined) return
  await answerQuestion(trx, deps, { sessionId: session.id, number: open.number, answer: `See version ${input.version} of the spec.`, by: input.by, correlationId: input.correlationId })
}

/** The person has said enough. @throws DomainError not_found, illegal_transition */
export async function skipQuestions(trx: Trx, deps: ClarificationDependencies, input: { sessionId: string; by: string; correlationId: string }): Promise<SessionRow> {
  const session = await lockSession(trx, input.sessionId)
  if (session.state !== 'clarifying') throw new DomainError('illegal_transition', { kind: 'session', id: session.id, from: session.state, to: 'skip' })
  await message(trx, session, { from: input.by, number: null, done: true }, input.correlationId)
  return moveSession(trx, session, 'design', { patch: { clarify: 'closed' }, reason: `${input.by} has said enough`, now: deps.now(), correlationId: input.correlationId })
}

async function message(trx: Trx, session: SessionRow, data: Record<string, unknown>, correlationId = session.correlation_id): Promise<void> {
  await appendEvents(trx, [{ type: 'session:message', projectId: session.project_id, subject: { kind: 'session', id: session.id }, correlationId, data: { sessionId: session.id, ...data } }])
}
