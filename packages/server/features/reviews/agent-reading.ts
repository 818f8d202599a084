import { createHash } from 'node:crypto'
import type { MergePayload } from '@swarm/contract/endpoints/changes.ts'
import { takeChunk } from '@swarm/core/design/chunks.ts'
import { fileOf, joinAnswers, MAX_REVIEW_REQUESTS, REVIEW_TOKEN_CAP, reviewRequest, reviewStep, type ReviewAnswer, type ReviewFile, type ReviewSubject } from '@swarm/core/review/requests.ts'
import { git } from '@swarm/git/run.ts'
import { askReviewer } from './agent-answer.ts'
import type { ReviewDependencies } from './dependencies.ts'
import { openComments, type AgentReviewRow, type ChangeRow, type TicketRow } from './queries.ts'

/** A diff above this is not read at all. */
const MAX_DIFF_BYTES = 64 * 1024 * 1024

export interface Reading extends ReviewAnswer {
  /** Files that were not read, or not whole. */
  readonly unread: readonly string[]
}

/** Reads a change, in as many requests as it takes up to the most there may be, and says what it could not read. Every request follows from what is recorded, so that a run which is repeated finds its answers in the journal. */
export async function readWithModel(deps: ReviewDependencies, about: { row: AgentReviewRow; change: ChangeRow; ticket: TicketRow; payload: MergePayload; round: number }, signal: AbortSignal): Promise<Reading> {
  const { row, change, ticket, payload, round } = about
  const files = await filesOf((await deps.locate(change.repository_id)).path, change.base_sha, change.head_sha, signal)
  const subject: ReviewSubject = {
    ticket: {
      id: ticket.id, key: ticket.key, title: ticket.title, description: ticket.description, acceptance: JSON.parse(ticket.acceptance) as string[], requirements: JSON.parse(ticket.requirements) as { id: string; text: string }[],
    },
    checks: payload.checks, warnings: payload.warnings, paths: files.map(({ path }) => path), round,
    mark: `=== ${createHash('sha256').update(`${change.id} ${change.head_sha}`).digest('hex').slice(0, 32)} ===`,
    earlier: (await openComments(deps.db.read, change.id)).map((comment) => `${comment.path}:${comment.line}: ${comment.body}`),
  }
  const asked = { changeId: change.id, headSha: change.head_sha, projectId: change.project_id, sessionId: ticket.session_id, ticketId: ticket.id, correlationId: row.correlation_id }
  const answers: ReviewAnswer[] = []
  let rest: readonly ReviewFile[] = files
  for (let number = 1; number === 1 || (rest.length > 0 && number <= MAX_REVIEW_REQUESTS); number++) {
    const step = reviewStep(round, number)
    const fit = takeChunk(rest, REVIEW_TOKEN_CAP, (some, detail) => reviewRequest(subject, step, some, detail), { what: (file) => `the diff of ${file?.path ?? 'the change'}` })
    answers.push(await askReviewer(deps, asked, step, fit.request, signal))
    rest = fit.rest
  }
  return { ...joinAnswers(answers), unread: [...files.filter((file) => file.cut && !rest.includes(file)).map(({ path }) => `${path} (its beginning was read)`), ...rest.map(({ path }) => path)] }
}

/** The change as one diff per file, in git's order. */
async function filesOf(repository: string, base: string, head: string, signal: AbortSignal): Promise<ReviewFile[]> {
  const { stdout } = await git(repository, ['diff-tree', '-r', '-p', '-M', '-U6', '--no-color', '--no-ext-diff', '--no-textconv', base, head], { maxBytes: MAX_DIFF_BYTES, signal })
  // Lines of files begin with a blank, + or -: only headers begin so.
  return stdout.split(/^(?=diff --git )/m).filter((patch) => patch.startsWith('diff --git ')).map((patch) => fileOf(nameIn(patch), patch))
}

/** The name of the file in the header of its diff; where it is gone, the one that it had. */
function nameIn(patch: string): string {
  const header = patch.split(/^@@ /m)[0] ?? ''
  const named = /^\+\+\+ "?b\/(.+?)"?\t?$/m.exec(header) ?? /^rename to "?(.+?)"?$/m.exec(header) ?? /^--- "?a\/(.+?)"?\t?$/m.exec(header) ?? /^diff --git "?a\/(.+?)"? "?b\//.exec(header)
  return named?.[1] ?? 'a file'
}
