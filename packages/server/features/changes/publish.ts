import type { MergePayload } from '@swarm/contract/endpoints/changes.ts'
import { mergeBase } from '@swarm/git/diff.ts'
import { git } from '@swarm/git/run.ts'
import type { Duty } from '../../coordinator/duty.ts'
import { signal } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import { followRef } from '../../integrations/builtin-code-host/bare.ts'
import type { ChangeDependencies } from './dependencies.ts'
import { abandonedChanges, attemptsOf, moveChange, openChanges, ticketOf, upsertChange, type AttemptRow, type CheckRow } from './queries.ts'

export interface FileFigures { readonly path: string; readonly oldPath: string | null; readonly additions: number | null; readonly deletions: number | null }

/** Lines added and taken away per file, between the two trees; null for binaries. */
export async function fileFigures(path: string, base: string, head: string): Promise<FileFigures[]> {
  const fields = (await git(path, ['diff-tree', '-r', '-z', '--numstat', '-M', base, head])).stdout.split('\0')
  const figures: FileFigures[] = []
  for (let i = 0; i < fields.length && fields[i] !== ''; i++) {
    const [added = '', removed = '', name = ''] = (fields[i] ?? '').split('\t')
    const renamed = name === ''
    figures.push({
      path: renamed ? fields[i + 2] ?? '' : name, oldPath: renamed ? fields[i + 1] ?? '' : null,
      additions: added === '-' ? null : Number(added), deletions: removed === '-' ? null : Number(removed),
    })
    if (renamed) i += 2
  }
  return figures
}

/** Paths kept of a merged change. */
const MAX_TOUCHED_PATHS = 500

/** Paths that differ between the two commits, both names of a renamed file; at most 500. */
export async function touchedPaths(path: string, from: string, to: string): Promise<string[]> {
  const names = (await git(path, ['diff-tree', '-r', '-z', '--name-only', '--no-renames', from, to])).stdout.split('\0')
  return names.filter((name) => name !== '').slice(0, MAX_TOUCHED_PATHS)
}

/**
 * Publishes a verified attempt: one transaction records the head, makes or moves the ticket's one change, and puts exactly that
 * head before its reviewers. The branch in git follows the database afterwards (`branchDuty` does what a crash left over).
 */
export async function publish(deps: ChangeDependencies, attempt: AttemptRow, check: CheckRow): Promise<void> {
  const ticket = await ticketOf(deps.db.read, attempt.ticket_id)
  const { path } = await deps.locate(ticket.repository_id)
  const head = attempt.head_sha ?? check.commit_sha
  const base = await mergeBase(path, attempt.base_sha, head)
  const figures = await fileFigures(path, base, head)
  const gate = JSON.parse(attempt.gate ?? '{"findings":[]}') as { findings: { code: string; path: string; message: string }[] }
  const { results, reusedFrom } = deps.checks.readResults(check)
  const history = await attemptsOf(deps.db.read, ticket.id)
  const warnings = [
    ...gate.findings.map((finding) => `${finding.code} (${finding.path}): ${finding.message}`),
    ...(results.length === 0 ? ['The repository has no checks: nothing was run.'] : []),
  ]
  const facts = {
    attempts: history.map((each) => ({ id: each.id, number: each.number, state: each.id === attempt.id ? 'succeeded' : each.state, failureClass: each.failure_class, failureReason: each.failure_reason, headSha: each.head_sha })),
    gate, warnings,
    check: { id: check.id, commitSha: check.commit_sha, treeSha: check.tree_sha, planDigest: check.plan_digest, reusedFrom, results: results.map(({ output: _, ...result }) => result) },
  }
  const now = deps.now()
  await deps.db.write(async (trx) => {
    await deps.tickets.verified(trx, { attemptId: attempt.id, paths: figures.flatMap((file) => file.oldPath === null ? [file.path] : [file.oldPath, file.path]) })
    const changeId = await upsertChange(trx, {
      id: deps.makeId('change'), project_id: ticket.project_id, repository_id: ticket.repository_id, ticket_id: ticket.id, branch: ticket.branch,
      title: ticket.title, body: bodyOf(ticket, attempt, facts), state: 'open', base_sha: base, head_sha: head, merged_sha: null,
      evidence: JSON.stringify(facts), created_at: now, updated_at: now,
    })
    const payload: MergePayload = {
      changeId, ticketId: ticket.id, title: ticket.title, headSha: head, baseSha: base, files: figures.length,
      additions: sum(figures.map((file) => file.additions)), deletions: sum(figures.map((file) => file.deletions)),
      checks: results.map(({ name, command, exitCode }) => ({ name, command, exitCode })), warnings,
    }
    await appendEvents(trx, [{
      type: 'change:created', projectId: ticket.project_id, subject: { kind: 'change', id: changeId }, correlationId: attempt.correlation_id,
      data: { ticketId: ticket.id, sessionId: ticket.session_id, title: ticket.title, headSha: head, baseSha: base, attemptId: attempt.id },
    }])
    // What people were asked about an earlier head is void, whoever is asked first about this one.
    await deps.approvals.cancelFor(trx, { kind: 'change', id: changeId }, 'what it was about has changed', attempt.correlation_id, 'merge')
    await deps.reviews.offer(trx, { projectId: ticket.project_id, payload, correlationId: attempt.correlation_id })
    signal(trx, 'work')
  })
  await followRef(path, `refs/heads/${ticket.branch}`, head)
}

function sum(numbers: readonly (number | null)[]): number {
  return numbers.reduce<number>((total, each) => total + (each ?? 0), 0)
}

function bodyOf(
  ticket: { id: string; description: string; acceptance: string; requirements: string }, attempt: AttemptRow,
  facts: { attempts: readonly { number: number; state: string; failureReason: string | null }[]; warnings: readonly string[]; check: { id: string; treeSha: string; planDigest: string; results: readonly { name: string; command: string; exitCode: number | null; wallMs: number }[] } },
): string {
  const acceptance = JSON.parse(ticket.acceptance) as string[]
  const requirements = JSON.parse(ticket.requirements) as { id: string; text: string }[]
  const list = (title: string, lines: readonly string[]) => (lines.length === 0 ? [] : [`## ${title}`, ...lines.map((line) => `- ${line}`), ''])
  return [
    ticket.description, '',
    ...list('Acceptance', acceptance),
    ...list('Requirements', requirements.map((each) => `${each.id} ${each.text}`)),
    ...list('What was done', attempt.summary === null ? [] : [attempt.summary]),
    ...list('Attempts', facts.attempts.map((each) => `${each.number}: ${each.state}${each.failureReason === null ? '' : ` (${each.failureReason})`}`)),
    ...list('Warnings', facts.warnings),
    ...list('Checks', [...facts.check.results.map((each) => `${each.name}: \`${each.command}\` ended with ${each.exitCode ?? 'a signal'} in ${Math.round(each.wallMs)} ms`), `run ${facts.check.id} on tree ${facts.check.treeSha} under plan ${facts.check.planDigest.slice(0, 12)}`]),
    `Ticket ${ticket.id}`, '',
  ].join('\n')
}

/** Branches of tickets follow their changes in the database, whatever a crash did to them; changes of tickets that were given up are closed. */
export function branchDuty(deps: ChangeDependencies): Duty {
  const settled = new Map<string, string>()
  return {
    name: 'ticket branches',
    async run(stop) {
      await closeAbandoned(deps)
      const open = await openChanges(deps.db.read)
      const errors: unknown[] = []
      for (const change of open) {
        if (settled.get(change.id) === change.head_sha) continue
        stop.throwIfAborted()
        try {
          const { path } = await deps.locate(change.repository_id)
          await followRef(path, `refs/heads/${change.branch}`, change.head_sha)
          settled.set(change.id, change.head_sha)
        } catch (error) {
          errors.push(error)
        }
      }
      const ids = new Set(open.map((change) => change.id))
      for (const id of settled.keys()) if (!ids.has(id)) settled.delete(id)
      if (errors.length > 0) throw errors.length === 1 ? errors[0] : new AggregateError(errors, `${errors.length} branches cannot be written`)
      return false
    },
  }
}

async function closeAbandoned(deps: ChangeDependencies): Promise<void> {
  const abandoned = await abandonedChanges(deps.db.read)
  if (abandoned.length === 0) return
  await deps.db.write(async (trx) => {
    for (const change of abandoned) {
      if (!await moveChange(trx, { id: change.id, headSha: change.head_sha }, { state: 'closed', updated_at: deps.now() })) continue
      await deps.approvals.cancelFor(trx, { kind: 'change', id: change.id }, 'its ticket was given up', change.ticket_id)
      await appendEvents(trx, [{ type: 'change:closed', projectId: change.project_id, subject: { kind: 'change', id: change.id }, correlationId: change.ticket_id, data: { ticketId: change.ticket_id } }])
    }
  })
}
