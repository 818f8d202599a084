import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { CheckResult } from '@swarm/contract/runner-protocol.ts'
import type { ReviewRule } from '@swarm/core/review/verdicts.ts'
import { git } from '@swarm/git/run.ts'
import type { Database } from '../../db/database.ts'
import { unheardRoutes } from '../../http/testing.ts'
import { newId } from '../../ids.ts'
import { compareAndSet, identity, readRef, treeOf } from '../../integrations/builtin-code-host/bare.ts'
import { createApprovals } from '../approvals/service.ts'
import { createChecks } from '../checks/checks.ts'
import { readRepositoryPlan, sealPlan } from '../checks/plan.ts'
import { createWorkInputs } from '../checks/work-inputs.ts'
import { failedOutput, readResults } from '../checks/service.ts'
import { createRepositories } from '../repositories/repositories.ts'
import { createReviews } from '../reviews/reviews.ts'
import type { ReviewDependencies } from '../reviews/dependencies.ts'
import { createTicketCommands } from '../tickets/commands.ts'
import { claimTicket } from '../tickets/claim.ts'
import { completeAttempt } from '../tickets/reports.ts'
import { createChanges } from './changes.ts'

const run = promisify(execFile)

/** The merge path over a fresh database and a real repository: tickets, approvals, checks and changes as the server has them; the test is runner, agent and person. */
export async function mergePathOver(db: Database, home: string, swarmYml: string, options: { batchSize?: number; review?: Partial<ReviewRule>; callModel?: ReviewDependencies['callModel']; onReviewError?: () => void } = {}) {
  const http = unheardRoutes(db)
  const clock = { now: 1_700_000_000_000 }
  const now = () => clock.now++
  const deps = { now, random: () => 0, makeId: newId }
  const tickets = createTicketCommands(deps)
  const approvals = createApprovals(deps)
  const repositories = createRepositories({ http, db }, { root: join(home, 'repositories'), makeId: newId, now, checkSwarmYml: () => undefined, origins: { exemptions: [], resolve: async () => [] } })
  const locate = async (id: string) => {
    const found = await repositories.find(id)
    return { id: found.id, projectId: found.project_id, path: repositories.pathOf(found), defaultBranch: found.default_branch }
  }
  const checks = createChecks({ http, db }, {
    now, makeId: newId, leaseTtlMs: 30_000, beatMs: 10_000, setRef: repositories.setRef,
    place: async () => ({ projectSlug: 'p', repositorySlug: 'r', settings: { egressAllow: [], vm: {} } }),
    inputs: createWorkInputs({ place: async (id) => ({ path: (await locate(id)).path, main: (await repositories.head(id)).sha }) }),
  })
  const reviewDeps: ReviewDependencies = {
    db, now, makeId: newId, tickets, approvals, locate, model: 'reviewer-model', servedBy: 'rehearsal', mayMerge: async () => true, mergePolicy: async () => ({ outcome: 'approval', policies: [] }),
    ruleOf: async () => ({ people: 1, agent: 'off', minimumScore: 70, notAuthor: false, ...options.review }),
    callModel: options.callModel ?? (async () => { throw new Error('no model here') }), onError: options.onReviewError ?? ((error) => { throw error }),
  }
  const reviews = createReviews(http, reviewDeps)
  const changeDeps = {
    db, now, makeId: newId, tickets, approvals, reviews: reviews.commands, locate, batchSize: options.batchSize ?? 8,
    checks: { enqueue: checks.queue.enqueue, cancel: checks.queue.cancel, readPlan: readRepositoryPlan, sealPlan, readResults, failedOutput },
  }
  const make = (through: Database = db) => createChanges(unheardRoutes(db), { ...changeDeps, db: through, approvals: { ...approvals, onDecision: () => undefined } }).duties
  const changes = createChanges(http, changeDeps)
  const projectId = newId('project')
  const runner = { id: newId('runner'), name: 'test', isolates: true, takesNew: true }
  await db.write(async (trx) => {
    await trx.insertInto('projects').values({ id: projectId, slug: 'p', name: 'p', settings: '{}', created_at: 1 }).execute()
    await trx.insertInto('runners').values({ id: runner.id, name: 'test', boot_id: null, driver: 'process', isolates: 0, capacity: 4, seen_at: 1, created_at: 1, no_room: null }).execute()
  })
  const made = await repositories.create({ projectId, slug: 'r', gitignore: 'x\n', swarmYml })
  const path = repositories.pathOf(made.repository)
  const repositoryId = made.repository.id
  const never = new AbortController().signal

  const world = {
    db, path, repositoryId, projectId, runner, checks, tickets, approvals, reviews, repositories, app: http.app, clock, start: made.head,
    duties: changes.duties,
    /** The same duties again, as a second replica has them; `through` is the database as that one sees it. */
    replica: make,
    /** The same for reviews. */
    reviewReplica: (through: Database) => createReviews(unheardRoutes(db), { ...reviewDeps, db: through }),
    main: async () => (await readRef(path, 'refs/heads/main')) ?? '',
    /** A commit on `parent` with these files changed (null: removed), by anybody. */
    async commit(parent: string, files: Record<string, string | null>, message: string): Promise<string> {
      const index = { GIT_INDEX_FILE: join(path, `index-${newId('call')}`) }
      await git(path, ['read-tree', parent], { env: index })
      for (const [name, text] of Object.entries(files)) {
        const blob = text === null ? '0'.repeat(40) : (await git(path, ['hash-object', '-w', '--stdin'], { input: text })).stdout.trim()
        await git(path, ['update-index', '--index-info'], { env: index, input: `${text === null ? '0' : '100644'} ${blob}\t${name}\n` })
      }
      const tree = (await git(path, ['write-tree'], { env: index })).stdout.trim()
      await rm(index.GIT_INDEX_FILE, { force: true })
      return (await git(path, ['commit-tree', tree, '-p', parent, '-F', '-'], { input: message, env: identity(1_600_000_000) })).stdout.trim()
    },
    /** Somebody pushes to main past Swarm. */
    async push(files: Record<string, string | null>, message = 'by hand\n'): Promise<string> {
      const before = await world.main()
      const sha = await world.commit(before, files, message)
      await compareAndSet(path, 'refs/heads/main', sha, before)
      return sha
    },
    async plan(key: string, scope: string[] = []): Promise<string> {
      const ids = await db.write((trx) => tickets.createMany(trx, {
        projectId, repositoryId, sessionId: null, correlationId: 'test-correlation',
        tickets: [{ key: `${key}-${newId('call')}`, title: `Do ${key}`, description: '', acceptance: ['it works'], scope, requirements: [], dependsOn: [], storyPoints: 1, wave: 1, agent: 'developer' }],
      }))
      return [...ids.values()][0] ?? ''
    },
    /** One attempt of the ticket that hands in these files, from where the engine says it starts. */
    async attempt(ticketId: string, files: Record<string, string | null>, base?: string): Promise<{ id: string; head: string }> {
      const claimed = await world.claim(ticketId)
      const from = claimed.base_sha !== '' ? claimed.base_sha : base ?? await world.main()
      const startSha = claimed.start_sha !== '' ? claimed.start_sha : from
      const head = await world.commit(startSha, files, `Work on ${ticketId}\n\nSwarm-Ticket: ${ticketId}\nSwarm-Attempt: ${claimed.id}\n`)
      await repositories.setRef(repositoryId, `refs/swarm/attempts/${claimed.id}/work`, head)
      await db.write(async (trx) => {
        await trx.updateTable('attempts').set({ base_sha: from, start_sha: startSha }).where('id', '=', claimed.id).execute()
        await completeAttempt(trx, deps, runner.id, { id: claimed.id, fence: claimed.fence, headSha: head, summary: 'done' })
      })
      return { id: claimed.id, head }
    },
    /** An attempt of this very ticket, under its lease. */
    async claim(ticketId: string) {
      await db.write(async (trx) => { await trx.updateTable('tickets').set({ priority: 1 }).where('id', '=', ticketId).execute() })
      const others = await db.read.selectFrom('tickets').select('id').where('id', '!=', ticketId).where('state', 'in', ['ready', 'changes_requested']).execute()
      return await db.write(async (trx) => {
        // This very ticket and no other, however the engine would choose.
        await trx.updateTable('tickets').set({ retry_at: clock.now + 10_000_000 }).where('id', 'in', [...others.map((other) => other.id), '']).execute()
        await trx.updateTable('tickets').set({ retry_at: null }).where('id', '=', ticketId).execute()
        const attempt = await claimTicket(trx, deps, { leaseTtlMs: 30_000, concurrency: 100, concurrencyOf: async () => 100, agentVersion: async () => ({ version: 1, minutes: 30 }) }, runner.id, newId('call'))
        if (attempt?.ticket_id !== ticketId) throw new Error(`claimed ${attempt?.ticket_id ?? 'nothing'} instead of ${ticketId}`)
        return attempt
      })
    },
    async duty(name: string, duties = changes.duties): Promise<boolean> {
      const duty = duties.find((each) => each.name === name)
      if (!duty) throw new Error(`no duty ${name}`)
      return await duty.run(never)
    },
    /** One queued check, really run on an export of its commit. Returns its id, or null when none is queued. */
    async runCheck(): Promise<string | null> {
      const key = await db.write((trx) => checks.source.claim(trx, runner, newId('call')))
      if (!key) return null
      const work = await checks.source.describe(key.id, key.fence)
      const folder = await mkdtemp(join(home, 'check-'))
      await mkdir(join(folder, 'work'))
      await git(path, ['archive', '--format=tar', '-o', join(folder, 'a.tar'), work.commitSha])
      await run('tar', ['-xf', join(folder, 'a.tar'), '-C', join(folder, 'work')])
      const results: CheckResult[] = []
      for (const check of work.checks) {
        const outcome = await run('sh', ['-c', check.command], { cwd: join(folder, 'work') }).then(({ stdout }) => ({ code: 0, out: stdout }), (error: { code: number; stdout: string; stderr: string }) => ({ code: error.code, out: error.stdout + error.stderr }))
        results.push({ name: check.name, command: check.command, exitCode: outcome.code, timedOut: false, wallMs: 1, output: outcome.out })
        if (outcome.code !== 0) break
      }
      await rm(folder, { recursive: true })
      await db.write((trx) => checks.source.complete(trx, runner.id, { id: key.id, fence: key.fence, passed: results.every((result) => result.exitCode === 0), results }))
      return key.id
    },
    /** Duties and checks until nothing moves any more. */
    async drain(): Promise<void> {
      for (let moved = true; moved;) {
        moved = false
        for (const duty of changes.duties) while (await duty.run(never)) moved = true
        while (await world.runCheck() !== null) moved = true
      }
    },
    async ticket(id: string) {
      return await db.read.selectFrom('tickets').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
    },
    async change(ticketId: string) {
      return await db.read.selectFrom('changes').selectAll().where('ticket_id', '=', ticketId).executeTakeFirstOrThrow()
    },
    async entry(ticketId: string) {
      return await db.read.selectFrom('merge_entries').selectAll().where('ticket_id', '=', ticketId).executeTakeFirstOrThrow()
    },
    async approval(ticketId: string) {
      const change = await world.change(ticketId)
      return await db.read.selectFrom('approvals').selectAll().where('subject_id', '=', change.id).orderBy('created_at', 'desc').executeTakeFirstOrThrow()
    },
    async decide(ticketId: string, decision: 'approved' | 'rejected' | 'revision_requested' = 'approved', reason = '', byYesFlag = false): Promise<void> {
      const approval = await world.approval(ticketId)
      await db.write((trx) => approvals.decide(trx, { approvalId: approval.id, decision, payloadHash: approval.payload_hash, reason, decidedBy: 'admin admin', byYesFlag, correlationId: 'test-correlation' }))
    },
    /** A ticket that is done and waits for the decision about its merge. */
    async inReview(key: string, files: Record<string, string | null>, base?: string): Promise<string> {
      const id = await world.plan(key)
      await world.attempt(id, files, base)
      await world.drain()
      return id
    },
    /** Changes in review, all of them on the first commit of main; the merge queue is not touched. Ids by key. */
    async reviewed(changes: Readonly<Record<string, Record<string, string | null>>>): Promise<Record<string, string>> {
      const ids: Record<string, string> = {}
      for (const [name, files] of Object.entries(changes)) {
        ids[name] = await world.plan(name)
        await world.attempt(ids[name], files, world.start)
      }
      for (let moved = true; moved;) {
        moved = false
        for (const duty of ['output gate', 'check verdicts']) while (await world.duty(duty)) moved = true
        while (await world.runCheck() !== null) moved = true
      }
      return ids
    },
    /** Every value that main ever had, oldest first. */
    async mainHistory(): Promise<string[]> {
      const log = (await git(path, ['reflog', 'show', '--format=%H', 'refs/heads/main'])).stdout.trim().split('\n')
      return log.toReversed()
    },
    /** Of these commits, those whose tree never passed a check run. */
    async unproven(commits: readonly string[]): Promise<string[]> {
      const bad: string[] = []
      for (const sha of commits) {
        const passed = await db.read.selectFrom('check_runs').select('id').where('tree_sha', '=', await treeOf(path, sha)).where('state', '=', 'passed').executeTakeFirst()
        if (!passed) bad.push(sha)
      }
      return bad
    },
  }
  return world
}
export type MergePath = Awaited<ReturnType<typeof mergePathOver>>

/** The database as a replica sees it that does something, or dies, around its nth unit of writing. */
export function interposed(db: Database, around: { at: number; before?: () => Promise<void>; after?: () => Promise<void> }): Database {
  let unit = 0
  return {
    ...db,
    async write(fn) {
      const mine = ++unit
      if (mine === around.at) await around.before?.()
      const value = await db.write(fn)
      if (mine === around.at) await around.after?.()
      return value
    },
  }
}
