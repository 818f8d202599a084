import { createHash } from 'node:crypto'
import { Coverage, Plan, SpecCard } from '@swarm/contract/endpoints/design.ts'
import { canonicalJson } from '@swarm/core/approvals/approval.ts'
import { z } from 'zod'

/** What is kept of a spec version in `spec_versions.parsed`. */
export const StoredSpec = z.object({
  /** Null: an idea, which has no requirements yet. */
  spec: z.object({
    title: z.string(),
    sections: z.array(z.object({ title: z.string(), level: z.number(), line: z.number(), kind: z.enum(['requirements', 'acceptance', 'constraints', 'out_of_scope', 'other']), text: z.string() })),
    requirements: z.array(z.object({ id: z.string(), text: z.string(), line: z.number(), section: z.string(), explicit: z.boolean() })),
    acceptance: z.array(z.object({ text: z.string(), line: z.number(), requirement: z.string().nullable() })),
    constraints: z.array(z.string()),
    outOfScope: z.array(z.string()),
  }).nullable(),
  /** What people asked for when they sent a plan of this spec back, oldest first. */
  revisions: z.array(z.string()),
})
export type StoredSpec = z.infer<typeof StoredSpec>

/** `design_sessions.base`: the plan that a new version of the spec starts from. */
export const StoredBase = z.object({
  plan: Plan,
  /** Keys of tickets that were started when the version was written. Set down then, so that what is asked stays the same after a crash. */
  started: z.array(z.string()),
  /** Keys of all tickets of the session: no new one may have them. */
  taken: z.array(z.string()),
  /** Its tickets exist: they are left alone until the change is confirmed. */
  built: z.boolean(),
})
export type StoredBase = z.infer<typeof StoredBase>

/** `design_sessions.coverage`, `clarifications.coverage`; `spec_versions.card`. */
export const StoredCoverage = Coverage
export const StoredCard = SpecCard
/** `clarifications.options` and `.files`. */
export const StoredLines = z.array(z.string())

/** What is kept of a model answer in `design_steps.response`: the parts of the response that are read, and whether they were usable. */
export const StoredAnswer = z.object({ usable: z.boolean(), response: z.unknown() })

/** `design_sessions.failure`. */
export const StoredFailure = z.object({ code: z.string(), message: z.string(), remedy: z.string() })
export type StoredFailure = z.infer<typeof StoredFailure>

/** SHA-256 of a value's canonical JSON, hexadecimal. */
export function digestOf(value: unknown): string {
  return createHash('sha256').update(canonicalJson(value)).digest('hex')
}
