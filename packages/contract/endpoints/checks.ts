import { z } from 'zod'
import { endpoint, inParams } from '../endpoint.ts'
import { CheckResult } from '../runner-protocol.ts'
import { pageOf, PageQuery, Time } from './shared.ts'

export const CHECK_STATES = ['queued', 'running', 'passed', 'failed', 'error', 'cancelled'] as const

/** One run of a plan on one commit, in a clean microVM of its own. */
export const CheckRun = z.object({
  id: z.string(), projectId: z.string(), repositoryId: z.string(),
  /** attempt: the head of an attempt · merge: the merged tree · base: main itself, to tell whose fault a red merge is. */
  purpose: z.enum(['attempt', 'merge', 'base']),
  attemptId: z.string().nullable(), changeId: z.string().nullable(), ticketId: z.string().nullable(),
  commitSha: z.string(), treeSha: z.string(),
  /** SHA-256 of the plan. */
  planDigest: z.string(),
  /** error: it could not be run, five times; says nothing about the commit. */
  state: z.enum(CHECK_STATES),
  tries: z.number().int(), vmId: z.string().nullable(), failure: z.string().nullable(),
  /** The run whose pass of the same tree under the same plan this one rests on. */
  reusedFrom: z.string().nullable(),
  setup: z.string().nullable(), checks: z.array(z.object({ name: z.string(), command: z.string() })),
  createdAt: Time, startedAt: Time.nullable(), endedAt: Time.nullable(),
})
export type CheckRun = z.infer<typeof CheckRun>

export const listChecks = endpoint({
  method: 'GET', path: '/api/checks', access: ['person'], action: 'project:read', on: 'visible', tag: 'checks', summary: 'Lists check runs, newest first',
  query: PageQuery.extend({ changeId: z.string().optional(), ticketId: z.string().optional(), attemptId: z.string().optional(), repositoryId: z.string().optional() }), response: pageOf(CheckRun),
})
export const showCheck = endpoint({
  method: 'GET', path: '/api/checks/:checkId', access: ['person'], action: 'project:read', on: inParams('check', 'checkId'), tag: 'checks', summary: 'Shows a check run with its output',
  params: z.object({ checkId: z.string() }), response: CheckRun.extend({ results: z.array(CheckResult) }),
})
