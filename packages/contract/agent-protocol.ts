import { z } from 'zod'

/*
 * The wire between the runner and the agent program in the microVM (`node /opt/swarm/agent.mjs`, started by an exec after
 * the reseed): one JSON AgentTask on stdin, then END; JSON lines of AgentEvent on stdout, the last of which is an outcome
 * (finished, question or failed). stderr is a log. The agent holds no credential: HTTP goes through the guest's proxy,
 * where the runner adds the attempt token to calls of model.swarm.internal and git.swarm.internal.
 */

export const AgentLimits = z.object({
  /** Model turns before the attempt ends with reason turn_limit. */
  turns: z.number().int().positive().default(40),
  /** New input tokens (cache writes included) + output tokens, as the model reports them, before it ends with token_limit.
   *  Tokens read from the prompt cache are the same tokens again and are not counted. */
  tokens: z.number().int().positive().default(400_000),
  /** Money that the model calls of one attempt may cost, dollars; held by the model gateway (docs/budgets.md). No ceiling of the agent's own unless given. */
  usd: z.number().positive().max(10_000).optional(),
  /** Wall clock of the whole attempt. */
  minutes: z.number().positive().default(30),
  /** max_tokens of one model call. */
  maxOutputTokens: z.number().int().positive().default(8_192),
  /** A model call that brings no event for so long ends the attempt with reason silence. */
  modelSilenceSeconds: z.number().positive().default(300),
  /** An agent without an event and without a model call in flight for so long is stopped with reason stalled; the setting `lease.stallMs` unless given. */
  stallMinutes: z.number().positive().optional(),
})
export type AgentLimits = z.infer<typeof AgentLimits>

/** What a reviewer said about lines of a change, for the agent that works on it next. */
export const EvidenceComment = z.object({
  id: z.string(), author: z.string(), path: z.string(), /** `old`: lines that the change takes away. */ side: z.enum(['old', 'new']), startLine: z.number().int(), line: z.number().int(),
  /** The commit in which the lines have these numbers. */
  headSha: z.string(), /** The lines as they were then. */ quoted: z.string(), body: z.string(),
  replies: z.array(z.object({ author: z.string(), body: z.string() })),
})
export type EvidenceComment = z.infer<typeof EvidenceComment>

/** What one earlier attempt left behind for the next one. */
export const AttemptEvidence = z.object({
  attemptId: z.string(),
  number: z.number().int(),
  failureClass: z.enum(['infrastructure', 'model', 'agent', 'checks', 'policy', 'budget', 'conflict']),
  reason: z.string(),
  /** Gate findings: code, place, remedy. */
  findings: z.array(z.object({ code: z.string(), severity: z.enum(['error', 'warning']), path: z.string().nullable(), line: z.number().int().nullable(), message: z.string(), remedy: z.string() })).default([]),
  /** Tail of the output of the check that failed, if one did. */
  checkOutput: z.string().default(''),
  /** For a conflict: the two sides per file, as unified text. */
  conflict: z.string().default(''),
  /** Of a review: every comment that is not resolved, in one batch. */
  comments: z.array(EvidenceComment).optional(),
})
export type AttemptEvidence = z.infer<typeof AttemptEvidence>

export const ShellConfig = z.object({ template: z.literal('shell'), commands: z.array(z.string()).min(1) })
export const HttpConfig = z.object({
  template: z.literal('http'),
  /** Run in order; `save` writes the body to a file of the repository; a status outside `expectStatus` fails the attempt. */
  operations: z.array(z.object({
    method: z.enum(['GET', 'POST', 'PUT', 'PATCH', 'DELETE']), url: z.url(), headers: z.record(z.string(), z.string()).default({}),
    body: z.string().optional(), expectStatus: z.array(z.number().int()).default([200, 201, 204]), save: z.string().optional(),
  })).min(1),
})
export const ClaudeConfig = z.object({
  template: z.literal('claude'),
  model: z.string(),
  /** Added to the system prompt: who this agent is and how it works. */
  persona: z.string().default(''),
  /** Tokens of context above which older tool results are elided (each elision is stated in its place). */
  contextTokens: z.number().int().min(4_000).default(120_000),
  tools: z.array(z.enum(['bash', 'read_file', 'write_file', 'edit_file', 'glob', 'grep', 'ask_human', 'finish'])).default(['bash', 'read_file', 'write_file', 'edit_file', 'glob', 'grep', 'ask_human', 'finish']),
})
/** What a template needs to know; part of an agent definition. */
export const AgentConfig = z.discriminatedUnion('template', [ShellConfig, HttpConfig, ClaudeConfig])
export type AgentConfig = z.infer<typeof AgentConfig>

export const AgentTask = z.object({
  attemptId: z.string(),
  correlationId: z.string(),
  role: z.string().default('developer'),
  ticket: z.object({
    id: z.string(),
    /** The plan's own key, like "scoring"; empty when the ticket did not come from a plan. */
    key: z.string().default(''),
    title: z.string(), description: z.string(), acceptance: z.array(z.string()),
    /** gitignore globs that the change may touch; empty means anywhere. */
    scope: z.array(z.string()),
    requirements: z.array(z.object({ id: z.string(), text: z.string() })),
    /** Commands of the repository's checks, to run inside before finishing. */
    checks: z.array(z.object({ name: z.string(), command: z.string() })),
  }),
  config: AgentConfig,
  limits: AgentLimits,
  workspace: z.string(),
  modelBaseUrl: z.string(),
  /** What the analysis of the repository found: language, layout, style; in words, empty when unknown. */
  conventions: z.string().default(''),
  evidence: z.array(AttemptEvidence).default([]),
  /** Set when the attempt was parked on a question: the Messages API messages so far and the person's answer. */
  resume: z.object({ transcript: z.array(z.unknown()), toolUseId: z.string(), answer: z.string() }).optional(),
})
export type AgentTask = z.infer<typeof AgentTask>

export const AgentEvent = z.discriminatedUnion('type', [
  z.object({ type: z.literal('turn'), number: z.number().int(), inputTokens: z.number().int(), outputTokens: z.number().int(), cacheReadTokens: z.number().int().default(0), stopReason: z.string().nullable() }),
  z.object({ type: z.literal('text'), text: z.string() }),
  z.object({ type: z.literal('tool_call'), id: z.string(), tool: z.string(), summary: z.string() }),
  z.object({ type: z.literal('tool_result'), id: z.string(), tool: z.string(), ok: z.boolean(), summary: z.string(), wallMs: z.number() }),
  /** `partial`: output since the last partial of a command that still runs (exitCode null). The last one has the whole output,
   *  bounded with its elision stated; its exitCode is null when a signal or the timeout ended the command. */
  z.object({ type: z.literal('command'), command: z.string(), exitCode: z.number().int().nullable(), output: z.string(), wallMs: z.number(), partial: z.boolean().default(false) }),
  /** Older tool results were replaced by a stated elision to keep the context under its budget. */
  z.object({ type: z.literal('compacted'), elided: z.number().int(), bytes: z.number().int(), contextTokens: z.number().int() }),
  /** Outcome: work is in the work tree, ready to be committed. */
  z.object({ type: z.literal('finished'), summary: z.string() }),
  /** Outcome: parked until a person answers. */
  z.object({ type: z.literal('question'), question: z.string(), options: z.array(z.string()).default([]), toolUseId: z.string(), transcript: z.array(z.unknown()) }),
  /** Outcome: the attempt is over. */
  z.object({ type: z.literal('failed'), failureClass: z.enum(['model', 'agent', 'budget', 'infrastructure']), reason: z.string(), message: z.string() }),
])
export type AgentEvent = z.infer<typeof AgentEvent>
/** The three events that end a run; the last line is always one of them. */
export type AgentOutcome = Extract<AgentEvent, { type: 'finished' | 'question' | 'failed' }>
