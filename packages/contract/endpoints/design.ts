import { z } from 'zod'
import { MIN_TOKEN_CAP } from '@swarm/core/design/chunks.ts'
import { SESSION_STATES, type SessionState } from '@swarm/core/design/session.ts'
import { endpoint, inBody, inParams, inQuery } from '../endpoint.ts'
import { pageOf, PageQuery, Time } from './shared.ts'

export const SessionStateName = z.enum(SESSION_STATES as [SessionState, ...SessionState[]])

export const PlanFinding = z.object({
  code: z.string(), severity: z.enum(['error', 'warning']),
  /** Keys of tickets or epics, ids of requirements. */
  place: z.array(z.string()), message: z.string(), remedy: z.string(),
})

/** What the designer made of a spec: shown at the gate, and what exactly is approved. */
export const Plan = z.object({
  specVersion: z.number().int(),
  baseSha: z.string(),
  greenfield: z.boolean(),
  epics: z.array(z.object({ key: z.string(), title: z.string(), requirements: z.array(z.string()), dependsOn: z.array(z.string()) })),
  tickets: z.array(z.object({
    key: z.string(), epic: z.string(), title: z.string(), description: z.string(), acceptance: z.array(z.string()), requirements: z.array(z.string()),
    /** gitignore globs. */
    scope: z.array(z.string()), dependsOn: z.array(z.string()), storyPoints: z.number().int(), agent: z.string(),
    /** 1 for what can start at once. */
    wave: z.number().int(),
  })),
  /** Ticket keys by wave. */
  waves: z.array(z.array(z.string())),
  /** Warnings only: a plan with errors is not shown. */
  findings: z.array(PlanFinding),
})
export type Plan = z.infer<typeof Plan>

export const DesignSession = z.object({
  id: z.string(), projectId: z.string(), repositoryId: z.string(), title: z.string(), state: SessionStateName, baseSha: z.string(),
  specVersion: z.number().int(), planHash: z.string().nullable(),
  /** Ceiling of the whole session, its tickets included; null: none. */
  maxCostMicroUsd: z.number().int().nullable(),
  /** Most tokens of one design request, estimated input and largest output together. */
  tokenCap: z.number().int(),
  /** Who serves the model: anthropic, rehearsal or compatible. */
  modelLabel: z.string(),
  /** Why the design failed, and what can be done. */
  failure: z.object({ code: z.string(), message: z.string(), remedy: z.string() }).nullable(),
  correlationId: z.string(), createdAt: Time, updatedAt: Time,
})
export type DesignSession = z.infer<typeof DesignSession>

export const DesignSessionDetail = DesignSession.extend({
  /** What can be done with it now. */
  can: z.object({ cancel: z.boolean(), retry: z.boolean() }),
  requirements: z.array(z.object({ id: z.string(), text: z.string(), line: z.number().int(), section: z.string() })),
  plan: Plan.nullable(),
  /** Model steps that are done and journaled, in order. */
  steps: z.array(z.object({ step: z.string(), requestDigest: z.string(), usable: z.boolean(), costMicroUsd: z.number().int(), createdAt: Time })),
  costMicroUsd: z.number().int(),
})
export type DesignSessionDetail = z.infer<typeof DesignSessionDetail>

const BySession = z.object({ sessionId: z.string() })

export const checkSpec = endpoint({
  method: 'POST', path: '/api/hitl/specs/check', access: ['person'], action: 'spec:read', on: 'account', tag: 'design',
  summary: 'Reads a spec as a design session would, and starts nothing: what it requires, or what is wrong and where. Also takes the file itself as text/markdown',
  body: z.object({ /** Markdown, at most 1 MiB. */ spec: z.string() }),
  response: z.object({
    /** Null, and no requirements, when it cannot be used. */
    title: z.string().nullable(),
    requirements: z.array(z.object({ id: z.string(), text: z.string(), line: z.number().int(), section: z.string(), /** False: the spec has none, and this one was made. */ explicit: z.boolean() })),
    outOfScope: z.array(z.string()),
    /** What keeps it from being used: the first thing that was met. */
    problems: z.array(z.object({ code: z.string(), message: z.string(), remedy: z.string(), /** Null where it is about the whole. */ line: z.number().int().nullable() })),
  }),
})
export const createSession = endpoint({
  method: 'POST', path: '/api/hitl/sessions', access: ['person'], action: 'session:start', on: inBody('project', 'projectId'), tag: 'design', status: 201,
  summary: 'Starts a design session: a Markdown spec becomes a plan of tickets, which a person approves',
  body: z.object({
    projectId: z.string(), repositoryId: z.string(),
    /** Markdown, at most 1 MiB. */
    spec: z.string(),
    maxCostMicroUsd: z.number().int().positive().optional(),
    tokenCap: z.number().int().min(MIN_TOKEN_CAP).max(200_000).optional(),
  }),
  response: DesignSession,
})
export const listSessions = endpoint({
  method: 'GET', path: '/api/hitl/sessions', access: ['person'], action: 'project:read', on: inQuery('project', 'projectId'), tag: 'design', summary: 'Lists design sessions, newest first',
  query: PageQuery.extend({ projectId: z.string().optional(), state: SessionStateName.optional() }), response: pageOf(DesignSession),
})
export const showSession = endpoint({
  method: 'GET', path: '/api/hitl/sessions/:sessionId', access: ['person'], action: 'session:read', on: inParams('session', 'sessionId'), tag: 'design', summary: 'Shows a design session with its plan, findings and steps',
  params: BySession, response: DesignSessionDetail,
})
export const cancelSession = endpoint({
  method: 'POST', path: '/api/hitl/sessions/:sessionId/cancel', access: ['person'], action: 'session:edit', on: inParams('session', 'sessionId'), tag: 'design', summary: 'Cancels a design session before its build has begun',
  params: BySession, response: DesignSession,
})
export const retrySession = endpoint({
  method: 'POST', path: '/api/hitl/sessions/:sessionId/retry', access: ['person'], action: 'session:edit', on: inParams('session', 'sessionId'), tag: 'design', summary: 'Takes up a failed design where its journal ends; steps that are done are not paid again',
  params: BySession, response: DesignSession,
})
