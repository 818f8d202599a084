import { createHash } from 'node:crypto'
import { canonicalJson } from '@swarm/core/approvals/approval.ts'
import { z } from 'zod'

/** What is kept of a spec version in `spec_versions.parsed`. */
export const StoredSpec = z.object({
  spec: z.object({
    title: z.string(),
    sections: z.array(z.object({ title: z.string(), level: z.number(), line: z.number(), kind: z.enum(['requirements', 'acceptance', 'constraints', 'out_of_scope', 'other']), text: z.string() })),
    requirements: z.array(z.object({ id: z.string(), text: z.string(), line: z.number(), section: z.string(), explicit: z.boolean() })),
    acceptance: z.array(z.object({ text: z.string(), line: z.number(), requirement: z.string().nullable() })),
    constraints: z.array(z.string()),
    outOfScope: z.array(z.string()),
  }),
  /** What people asked for when they sent a plan of this spec back, oldest first. */
  revisions: z.array(z.string()),
})
export type StoredSpec = z.infer<typeof StoredSpec>

/** What is kept of a model answer in `design_steps.response`: the parts of the response that are read, and whether they were usable. */
export const StoredAnswer = z.object({ usable: z.boolean(), response: z.unknown() })

/** `design_sessions.failure`. */
export const StoredFailure = z.object({ code: z.string(), message: z.string(), remedy: z.string() })
export type StoredFailure = z.infer<typeof StoredFailure>

/** SHA-256 of a value's canonical JSON, hexadecimal. */
export function digestOf(value: unknown): string {
  return createHash('sha256').update(canonicalJson(value)).digest('hex')
}
