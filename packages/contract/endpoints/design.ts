import { z } from 'zod'
import { MIN_TOKEN_CAP } from '@swarm/core/design/chunks.ts'
import { COVERAGE_AREAS, MAX_ANSWER_CHARACTERS, MAX_IDEA_CHARACTERS } from '@swarm/core/design/clarify.ts'
import { SESSION_STATES, type SessionState } from '@swarm/core/design/session.ts'
import { MAX_SPEC_BYTES } from '@swarm/core/design/spec.ts'
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
  /** Of a plan that only what a new version of the spec touches was made anew of: ticket keys, and the version that it began with. */
  change: z.object({
    sinceVersion: z.number().int(), kept: z.array(z.string()),
    /** Planned anew; before the build under the old key, where it has the same name. */
    added: z.array(z.string()), dropped: z.array(z.string()),
    /** Kept since somebody works on them, or has: what changes about them are tickets among `added`. */
    started: z.array(z.string()),
  }).nullable().default(null),
})
export type Plan = z.infer<typeof Plan>

const Score = z.number().int().min(0).max(100)
/** How much is known of each area, 0 to 100, as the clarifier sees it. */
export const Coverage = z.object(Object.fromEntries(COVERAGE_AREAS.map((area) => [area, Score])) as Record<(typeof COVERAGE_AREAS)[number], typeof Score>)

export const Clarification = z.object({
  number: z.number().int(), question: z.string(), area: z.enum(COVERAGE_AREAS),
  /** Likely answers; any other is as good. */
  options: z.array(z.string()),
  /** Paths of the repository that the question is about. */
  files: z.array(z.string()),
  coverage: Coverage,
  answer: z.string().nullable(), answeredBy: z.string().nullable(), answeredAt: Time.nullable(),
  /** What was taken from the answer. */
  acknowledgement: z.string().nullable(), askedAt: Time,
})
export type Clarification = z.infer<typeof Clarification>

const RangeShape = z.object({ low: z.number(), middle: z.number(), high: z.number() })
const Factor = z.number().nullable()
/** What the build of a plan takes: computed (core/design/estimate.ts), never asked of the model. Ranges are p10, p50 and p90. */
export const BuildEstimate = z.object({
  tickets: z.number().int(), waves: z.number().int(), storyPoints: z.number().int(),
  criticalPath: z.object({ tickets: z.array(z.string()), storyPoints: z.number().int(), workMs: RangeShape }),
  vms: z.object({ least: z.number().int(), atOnce: z.number().int(), width: z.number().int() }),
  tokens: RangeShape, microUsd: RangeShape, workMs: RangeShape, elapsedMs: RangeShape,
  /** Where the ranges come from: finished tickets of the project or of the installation, or priors that nobody measured. */
  basis: z.object({ source: z.enum(['project', 'installation', 'prior']), count: z.number().int(), perPoint: z.object({ tokens: RangeShape, microUsd: RangeShape, workMs: RangeShape }) }),
})
export const Calibration = z.object({ builds: z.number().int(), tokens: Factor, microUsd: Factor, elapsedMs: Factor })
/** Payload of a `build_start` approval. */
export const BuildPayload = BuildEstimate.extend({
  sessionId: z.string(), title: z.string(), specVersion: z.number().int(), planHash: z.string(), modelLabel: z.string(), maxCostMicroUsd: z.number().int().nullable(),
  /** Tickets of the project that may be worked on at once. */
  concurrency: z.number().int(),
  /** How earlier builds came out, as factors of what was expected of them. */
  calibration: Calibration,
  /** Of a change of what is being built; the numbers above are then those of the tickets that are not started. */
  change: Plan.shape.change,
})
export type BuildPayload = z.infer<typeof BuildPayload>

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

const RequirementShape = z.object({ id: z.string(), text: z.string(), line: z.number().int(), section: z.string() })

export const DesignSessionDetail = DesignSession.extend({
  /** What can be done with it now. */
  can: z.object({ cancel: z.boolean(), retry: z.boolean(), answer: z.boolean(), edit: z.boolean() }),
  requirements: z.array(RequirementShape),
  clarification: z.object({
    /** `open`: questions may still be asked; `off`: none ever. */
    mode: z.enum(['open', 'closed', 'off']),
    coverage: Coverage.nullable(), questions: z.array(Clarification),
    /** Number of the question that waits for an answer. */
    open: z.number().int().nullable(),
  }),
  plan: Plan.nullable(),
  /** What was expected when the build was confirmed, and what it took of it once it is complete. */
  estimates: z.array(z.object({ specVersion: z.number().int(), estimate: BuildEstimate, comparison: z.object({ tokens: Factor, microUsd: Factor, elapsedMs: Factor }).nullable(), confirmedAt: Time })),
  /** Model steps that are done and journaled, in order. */
  steps: z.array(z.object({ step: z.string(), requestDigest: z.string(), usable: z.boolean(), costMicroUsd: z.number().int(), createdAt: Time })),
  costMicroUsd: z.number().int(),
})
export type DesignSessionDetail = z.infer<typeof DesignSessionDetail>

export const SpecCard = z.object({
  title: z.string(), overview: z.string(), users: z.array(z.string()),
  requirements: z.array(z.object({ id: z.string(), text: z.string(), acceptance: z.array(z.string()) })),
  technical: z.array(z.string()), constraints: z.array(z.string()), acceptance: z.array(z.string()), outOfScope: z.array(z.string()),
})
export const SpecVersion = z.object({
  sessionId: z.string(), version: z.number().int(),
  /** Who wrote it (`designer`, or a person), and why; empty for versions older than these columns. */
  author: z.string(), reason: z.string(),
  /** SHA-256 of text and revision requests. */
  hash: z.string(), requirements: z.number().int(), createdAt: Time,
})
export type SpecVersion = z.infer<typeof SpecVersion>
export const SpecVersionDetail = SpecVersion.omit({ requirements: true }).extend({
  markdown: z.string(), requirements: z.array(RequirementShape),
  /** What people asked for when they sent plans back. */
  revisions: z.array(z.string()),
  card: SpecCard.nullable(),
})
export type SpecVersionDetail = z.infer<typeof SpecVersionDetail>
export const SpecDiff = z.object({
  from: z.number().int(), to: z.number().int(),
  /** As `diff -u`; empty when the texts are the same. */
  unified: z.string(),
  added: z.array(z.object({ id: z.string(), text: z.string() })), removed: z.array(z.object({ id: z.string(), text: z.string() })),
  changed: z.array(z.object({ id: z.string(), before: z.string(), after: z.string() })),
  /** Parts that hold for every requirement and are not the same. */
  everywhere: z.array(z.enum(['constraints', 'acceptance'])),
})
export type SpecDiff = z.infer<typeof SpecDiff>

const Id = z.string().max(64)
const BySession = z.object({ sessionId: Id })
const VersionNumber = z.coerce.number().int().min(1).max(1_000_000)
/** A little above the largest spec, so that the parser can say what is wrong with it. */
const Markdown = z.string().max(2 * MAX_SPEC_BYTES)

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
  summary: 'Starts a design session: an idea or a Markdown spec becomes a plan of tickets, which a person approves',
  body: z.object({
    projectId: Id, repositoryId: Id,
    /** Markdown with requirements, at most 1 MiB. */
    spec: Markdown.optional(),
    /** Instead of `spec`: what is wanted, in a few words; the designer writes the spec. */
    input: z.string().trim().min(1).max(MAX_IDEA_CHARACTERS).optional(),
    /** `auto`: what a plan needs and the text does not say is asked; `off`: nothing is. */
    clarify: z.enum(['auto', 'off']).default('auto'),
    /** A person has to approve `design_start` before anything is asked of the model. */
    confirmStart: z.boolean().default(false),
    maxCostMicroUsd: z.number().int().positive().optional(),
    tokenCap: z.number().int().min(MIN_TOKEN_CAP).max(200_000).optional(),
  }).refine(({ spec, input }) => (spec === undefined) !== (input === undefined), { message: 'give either spec or input', path: ['spec'] }),
  response: DesignSession,
})
export const listSessions = endpoint({
  method: 'GET', path: '/api/hitl/sessions', access: ['person'], action: 'project:read', on: inQuery('project', 'projectId'), tag: 'design', summary: 'Lists design sessions, newest first',
  query: PageQuery.extend({ projectId: z.string().optional(), state: SessionStateName.optional() }), response: pageOf(DesignSession),
})
export const showSession = endpoint({
  method: 'GET', path: '/api/hitl/sessions/:sessionId', access: ['person'], action: 'session:read', on: inParams('session', 'sessionId'), tag: 'design', summary: 'Shows a design session with its questions, plan, findings and steps',
  params: BySession, response: DesignSessionDetail,
})
export const answerSession = endpoint({
  method: 'POST', path: '/api/hitl/sessions/:sessionId/answers', access: ['person'], action: 'session:edit', on: inParams('session', 'sessionId'), tag: 'design', summary: 'Answers the open question of a design session: the first answer counts',
  params: BySession, body: z.object({ number: z.number().int().min(1).max(1_000), answer: z.string().trim().min(1).max(MAX_ANSWER_CHARACTERS) }), response: DesignSession,
})
export const skipQuestions = endpoint({
  method: 'POST', path: '/api/hitl/sessions/:sessionId/skip', access: ['person'], action: 'session:edit', on: inParams('session', 'sessionId'), tag: 'design', summary: 'Ends the questions of a design session: it goes on with what is known',
  params: BySession, response: DesignSession,
})
export const editSpec = endpoint({
  method: 'PUT', path: '/api/hitl/sessions/:sessionId/spec', access: ['person'], action: 'session:edit', on: inParams('session', 'sessionId'), tag: 'design',
  summary: 'Writes a new version of the spec; open approvals are void, and what the version touches is planned anew, while it is built too',
  params: BySession,
  body: z.object({
    spec: Markdown,
    /** The version that was edited; another one means that somebody was faster. */
    baseVersion: z.number().int().min(1), reason: z.string().trim().max(2_000).default(''),
  }),
  response: DesignSession,
})
export const listSpecVersions = endpoint({
  method: 'GET', path: '/api/hitl/sessions/:sessionId/versions', access: ['person'], action: 'session:read', on: inParams('session', 'sessionId'), tag: 'design', summary: 'Lists the versions of a spec, newest first',
  params: BySession, query: PageQuery, response: pageOf(SpecVersion),
})
export const showSpecVersion = endpoint({
  method: 'GET', path: '/api/hitl/sessions/:sessionId/versions/:version', access: ['person'], action: 'session:read', on: inParams('session', 'sessionId'), tag: 'design', summary: 'Shows one version of a spec',
  params: BySession.extend({ version: VersionNumber }), response: SpecVersionDetail,
})
export const diffSpecVersions = endpoint({
  method: 'GET', path: '/api/hitl/sessions/:sessionId/versions/:version/diff/:to', access: ['person'], action: 'session:read', on: inParams('session', 'sessionId'), tag: 'design', summary: 'Compares two versions of a spec, by lines and by requirements',
  params: BySession.extend({ version: VersionNumber, to: VersionNumber }), response: SpecDiff,
})
export const cancelSession = endpoint({
  method: 'POST', path: '/api/hitl/sessions/:sessionId/cancel', access: ['person'], action: 'session:edit', on: inParams('session', 'sessionId'), tag: 'design',
  summary: 'Cancels a design session before its build has begun; of one that is being built, takes back the change that is being designed',
  params: BySession, response: DesignSession,
})
export const retrySession = endpoint({
  method: 'POST', path: '/api/hitl/sessions/:sessionId/retry', access: ['person'], action: 'session:edit', on: inParams('session', 'sessionId'), tag: 'design', summary: 'Takes up a failed design where its journal ends; steps that are done are not paid again',
  params: BySession, response: DesignSession,
})
