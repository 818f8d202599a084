import { BATCH_STATES } from '@swarm/core/merge/batches.ts'
import { z } from 'zod'
import { endpoint, inParams, inQuery } from '../endpoint.ts'
import { pageOf, PageQuery, Time } from './shared.ts'

const Sha = z.string().regex(/^[0-9a-f]{40}([0-9a-f]{24})?$/)

/** What an approval of kind `merge` shows, and so exactly what it authorises. */
export const MergePayload = z.object({
  changeId: z.string(), ticketId: z.string(), title: z.string(), headSha: Sha, baseSha: Sha,
  files: z.number().int(), additions: z.number().int(), deletions: z.number().int(),
  checks: z.array(z.object({ name: z.string(), command: z.string(), exitCode: z.number().int().nullable() })),
  /** The gate's warnings, and what else a person should know. */
  warnings: z.array(z.string()),
  /** What the agent reviewer said, where the project has one. It is an opinion: it never approves. */
  review: z.object({
    /** Who answered: anthropic, rehearsal or compatible. */
    servedBy: z.string(), minimumScore: z.number().int(),
    score: z.number().int().nullable(), verdict: z.enum(['approve', 'request_changes']).nullable(), reasons: z.array(z.string()),
    /** Files that it did not read, or not whole: the change is too large. */
    unread: z.array(z.string()),
    /** Why it could not review; score and verdict are null then. */
    failed: z.string().nullable(),
  }).optional(),
})
export type MergePayload = z.infer<typeof MergePayload>

export const MERGE_ENTRY_STATES = ['queued', 'checking', 'merged', 'returned', 'cancelled'] as const
export const MergeEntry = z.object({
  changeId: z.string(), ticketId: z.string(), headSha: Sha, state: z.enum(MERGE_ENTRY_STATES),
  /** The batch that it is, or last was, a member of. */
  batchId: z.string().nullable(),
  /** Main when that batch was built, its candidate (what lands when its checks pass) and its check run. */
  baseSha: Sha.nullable(), candidateSha: Sha.nullable(), checkId: z.string().nullable(),
  /** Times in a row that main moved between the checks and the merge. */
  losses: z.number().int(), reason: z.string().nullable(), updatedAt: Time,
})
export type MergeEntry = z.infer<typeof MergeEntry>

/** A change in a batch: its commits are `ontoSha..tipSha`, where the first member's `ontoSha` is the batch's base and the last one's `tipSha` its head. */
export const BatchMember = z.object({ changeId: z.string(), ticketId: z.string(), headSha: Sha, ontoSha: Sha, tipSha: Sha })
export type BatchMember = z.infer<typeof BatchMember>
/** Changes that are checked together, as they would be on main, and land together. */
export const MergeBatch = z.object({
  id: z.string(), state: z.enum(BATCH_STATES), baseSha: Sha, headSha: Sha, members: z.array(BatchMember), checkId: z.string(),
  /** Why it did not land. */
  reason: z.string().nullable(), createdAt: Time, endedAt: Time.nullable(),
})
export type MergeBatch = z.infer<typeof MergeBatch>

/** The one change of a ticket, whatever the number of its attempts. */
export const Change = z.object({
  id: z.string(), projectId: z.string(), repositoryId: z.string(), ticketId: z.string(), branch: z.string(),
  title: z.string(), state: z.enum(['open', 'merged', 'closed']),
  baseSha: Sha, headSha: Sha,
  /** The value of main with which it landed. */
  mergedSha: Sha.nullable(), createdAt: Time, updatedAt: Time,
})
export type Change = z.infer<typeof Change>

const ById = z.object({ changeId: z.string() })
const ByRepository = z.object({ repositoryId: z.string() })

export const listChanges = endpoint({
  method: 'GET', path: '/api/changes', access: ['person'], action: 'project:read', on: inQuery('project', 'projectId'), tag: 'changes', summary: 'Lists changes, newest first',
  query: PageQuery.extend({ projectId: z.string().optional(), ticketId: z.string().optional(), state: z.enum(['open', 'merged', 'closed']).optional() }), response: pageOf(Change),
})
export const showChange = endpoint({
  method: 'GET', path: '/api/changes/:changeId', access: ['person'], action: 'change:read', on: inParams('change', 'changeId'), tag: 'changes', summary: 'Shows a change with its evidence and its place in the merge queue; by its id or its ticket\'s',
  params: ById, response: Change.extend({ body: z.string(), evidence: z.unknown(), merge: MergeEntry.nullable() }),
})
export const diffChange = endpoint({
  method: 'GET', path: '/api/changes/:changeId/diff', access: ['person'], action: 'change:read', on: inParams('change', 'changeId'), tag: 'changes', summary: 'The change as unified diff text and figures per file',
  params: ById,
  response: z.object({
    baseSha: Sha, headSha: Sha,
    files: z.array(z.object({ path: z.string(), oldPath: z.string().nullable(), /** Null for binaries. */ additions: z.number().int().nullable(), deletions: z.number().int().nullable() })),
    /** At most 4 MiB; `truncated` says that it was cut. */
    patch: z.string(), truncated: z.boolean(),
  }),
})
export const MergeQueue = z.object({
  repositoryId: z.string(), pausedReason: z.string().nullable(), entries: z.array(MergeEntry),
  /** Newest first, the one at work included; at most 20. */
  batches: z.array(MergeBatch),
  /** Changes among which the guilty one of a red batch is being looked for. */
  suspects: z.array(z.string()),
})
export type MergeQueue = z.infer<typeof MergeQueue>
export const showMergeQueue = endpoint({
  method: 'GET', path: '/api/changes/queue/:repositoryId', access: ['person'], action: 'repository:read', on: inParams('repository', 'repositoryId'), tag: 'changes', summary: 'The merge queue of a repository: what waits, in order, its latest batches, and why it stands still, if it does',
  params: ByRepository, response: MergeQueue,
})
export const pauseMergeQueue = endpoint({
  method: 'POST', path: '/api/changes/queue/:repositoryId/pause', access: ['person'], action: 'queue:pause', on: inParams('repository', 'repositoryId'), tag: 'changes', summary: 'Stops merging into a repository; what is under way waits',
  params: ByRepository, body: z.object({ reason: z.string().trim().min(1).max(2_000) }), response: MergeQueue,
})
export const resumeMergeQueue = endpoint({
  method: 'POST', path: '/api/changes/queue/:repositoryId/resume', access: ['person'], action: 'queue:pause', on: inParams('repository', 'repositoryId'), tag: 'changes', summary: 'Goes on merging; a base that was red is checked again',
  params: ByRepository, response: MergeQueue,
})
