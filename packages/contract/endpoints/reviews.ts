import { VERDICT_NAMES } from '@swarm/core/review/verdicts.ts'
import { z } from 'zod'
import { endpoint, inParams } from '../endpoint.ts'
import { pageOf, PageQuery, Time } from './shared.ts'

const Sha = z.string().regex(/^[0-9a-f]{40}([0-9a-f]{24})?$/)
const Body = z.string().trim().min(1).max(20_000)
const Line = z.number().int().min(1).max(10_000_000)
const ById = z.object({ changeId: z.string().max(40) })
const CommentById = ById.extend({ commentId: z.string().max(40) })

const Place = z.object({ path: z.string(), startLine: z.number().int(), line: z.number().int() })
export const ReviewComment = z.object({
  id: z.string(), changeId: z.string(), author: z.string(),
  /** Not sent yet: only its author sees it. */
  draft: z.boolean(),
  /** The review with which it was sent. */
  reviewId: z.string().nullable(),
  side: z.enum(['old', 'new']),
  /** Where its lines are now; where they were, when it is outdated. */
  ...Place.shape,
  /** One of its lines was changed, or taken away, since. */
  outdated: z.boolean(),
  /** Where it was made. */
  made: Place.extend({ headSha: Sha }),
  /** Its lines as they were then, up to 2,000 characters. */
  quoted: z.string(), body: z.string(), createdAt: Time, sentAt: Time.nullable(),
  resolved: z.object({ by: z.string(), at: Time }).nullable(),
  replies: z.array(z.object({ id: z.string(), author: z.string(), body: z.string(), createdAt: Time })),
})
export type ReviewComment = z.infer<typeof ReviewComment>

export const Review = z.object({
  id: z.string(), changeId: z.string(), headSha: Sha, reviewer: z.string(), kind: z.enum(['person', 'agent']), verdict: z.enum(VERDICT_NAMES),
  /** Whether it counts towards the number of people who must approve. */
  counts: z.boolean(),
  summary: z.string(), /** Of the agent reviewer, 0 to 100. */ score: z.number().int().nullable(), reasons: z.array(z.string()),
  comments: z.number().int(), approvalId: z.string().nullable(), createdAt: Time,
})
export type Review = z.infer<typeof Review>

export const ReviewStanding = z.object({
  /** The merge approval that people are asked about now: what they are shown has this hash. Null while nobody is asked. */
  approval: z.object({ id: z.string(), payloadHash: z.string() }).nullable(),
  /** How many people must approve, and who has. */
  needed: z.number().int(), approvedBy: z.array(z.string()),
  /** The agent reviewer at work on this head: how often it was tried, and what it waits for, if it does. */
  agent: z.object({ state: z.enum(['pending', 'done']), tries: z.number().int(), waitsFor: z.string().nullable() }).nullable(),
})
export type ReviewStanding = z.infer<typeof ReviewStanding>

export const listComments = endpoint({
  method: 'GET', path: '/api/changes/:changeId/comments', access: ['person'], action: 'change:read', on: inParams('change', 'changeId'), tag: 'changes', summary: 'Comments on lines of a change, oldest first, with their places in its current head; your own drafts among them',
  params: ById, query: PageQuery.extend({ resolved: z.enum(['true', 'false']).optional() }), response: pageOf(ReviewComment),
})
export const addComment = endpoint({
  method: 'POST', path: '/api/changes/:changeId/comments', access: ['person'], action: 'change:review', on: inParams('change', 'changeId'), tag: 'changes', status: 201, summary: 'Drafts a comment on lines of a change; it is sent with your review',
  params: ById,
  body: z.object({
    path: z.string().min(1).max(1_000), /** `old`: lines that the change takes away. */ side: z.enum(['old', 'new']).default('new'),
    /** The line, or the last one of a range. */
    line: Line, startLine: Line.optional(), body: Body,
    /** The head that you look at; another one is refused. */
    headSha: Sha,
  }).refine(({ line, startLine }) => startLine === undefined || startLine <= line, { path: ['startLine'], message: 'a range starts at or before its last line' }),
  response: ReviewComment,
})
export const editComment = endpoint({
  method: 'PATCH', path: '/api/changes/:changeId/comments/:commentId', access: ['person'], action: 'change:review', on: inParams('change', 'changeId'), tag: 'changes', summary: 'Changes the text of one of your drafts',
  params: CommentById, body: z.object({ body: Body }), response: ReviewComment,
})
export const discardComment = endpoint({
  method: 'DELETE', path: '/api/changes/:changeId/comments/:commentId', access: ['person'], action: 'change:review', on: inParams('change', 'changeId'), tag: 'changes', status: 204, summary: 'Throws one of your drafts away',
  params: CommentById, response: z.void(),
})
export const replyToComment = endpoint({
  method: 'POST', path: '/api/changes/:changeId/comments/:commentId/replies', access: ['person'], action: 'change:review', on: inParams('change', 'changeId'), tag: 'changes', status: 201, summary: 'Answers a comment that was sent; at once',
  params: CommentById, body: z.object({ body: Body }), response: ReviewComment,
})
export const resolveComment = endpoint({
  method: 'POST', path: '/api/changes/:changeId/comments/:commentId/resolution', access: ['person'], action: 'change:review', on: inParams('change', 'changeId'), tag: 'changes', summary: 'Says that a comment is dealt with, or that it is not after all; what is resolved is not given to agents',
  params: CommentById, body: z.object({ resolved: z.boolean() }), response: ReviewComment,
})
export const listReviews = endpoint({
  method: 'GET', path: '/api/changes/:changeId/reviews', access: ['person'], action: 'change:read', on: inParams('change', 'changeId'), tag: 'changes', summary: 'Reviews of a change, newest first, and how its approval stands',
  params: ById, query: PageQuery, response: pageOf(Review).extend({ standing: ReviewStanding }),
})
export const submitReview = endpoint({
  method: 'POST', path: '/api/changes/:changeId/reviews', access: ['person'], action: 'change:review', on: inParams('change', 'changeId'), tag: 'changes', status: 201,
  summary: 'Sends your review with all your drafts at once. approve, request_changes and reject decide the merge approval: the first decision wins, and approving takes as many people as the project asks for',
  params: ById,
  body: z.object({
    verdict: z.enum(VERDICT_NAMES), summary: z.string().trim().max(20_000).default(''),
    /** The head that you reviewed; another one is refused. */
    headSha: Sha,
    /** Of the merge approval, to approve: exactly what was shown is approved. */
    payloadHash: z.string().max(64).optional(),
  }).refine(({ verdict, payloadHash }) => verdict !== 'approve' || payloadHash !== undefined, { path: ['payloadHash'], message: 'to approve, say what you were shown: the payloadHash of the merge approval' }),
  response: Review.extend({ standing: ReviewStanding }),
})
