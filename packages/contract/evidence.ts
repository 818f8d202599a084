import { PAYLOAD_TYPE, PREDICATE_TYPE, STATEMENT_TYPE } from '@swarm/core/evidence/dsse.ts'
import { z } from 'zod'

/*
 * The evidence of one merged change (docs/evidence.md): a DSSE 1.0 envelope around an in-toto Statement v1 whose predicate is
 * ours. Objects are strict: a field that nobody knows is not evidence of anything. Times are ms since the epoch, money is
 * micro-dollars, digests of blobs are `sha256:<hex>`.
 */

const Sha = z.string().regex(/^[0-9a-f]{40}$/)
const Hex256 = z.string().regex(/^[0-9a-f]{64}$/)
/** SHA-256 of a kept blob. */
export const BlobDigest = z.string().regex(/^sha256:[0-9a-f]{64}$/)
const Time = z.number().int()

export const DsseEnvelope = z.strictObject({
  /** Standard base64 with padding, of the payload's bytes. */
  payload: z.string().min(1),
  payloadType: z.string(),
  signatures: z.array(z.strictObject({ /** SHA-256 (hex) of the public key as SPKI DER. */ keyid: Hex256, /** Ed25519, base64. */ sig: z.string().min(1) })),
})
export type DsseEnvelope = z.infer<typeof DsseEnvelope>

const Agent = z.strictObject({ name: z.string(), version: z.number().int(), /** Of the definition of that version as it is kept. */ definitionDigest: BlobDigest.nullable() })

export const EvidenceAttempt = z.strictObject({
  id: z.string(), number: z.number().int(), state: z.string(), agent: Agent,
  runner: z.strictObject({ id: z.string(), name: z.string().nullable() }).nullable(),
  vmIds: z.array(z.string()), baseSha: z.string(), startSha: z.string(), headSha: Sha.nullable(),
  failure: z.strictObject({ failureClass: z.string(), reason: z.string().nullable() }).nullable(),
  /** What the output gate found; null when it never judged this attempt. */
  gateFindings: z.array(z.looseObject({ code: z.string(), severity: z.string(), path: z.string().nullable(), message: z.string() })).nullable(),
  createdAt: Time, endedAt: Time.nullable(),
})
export const EvidenceVm = z.strictObject({
  id: z.string(), workKind: z.string(), workId: z.string(), runnerId: z.string(), driver: z.string(), templateKey: z.string(),
  /** SHA-256 (hex) over all that went into the guest image; null for a driver without one (`process`), or when it was not recorded. */
  imageDigest: z.string().nullable(), startedAt: Time, endedAt: Time.nullable(),
})
export const EvidenceCheck = z.strictObject({
  id: z.string(), purpose: z.string(), attemptId: z.string().nullable(), commit: Sha, tree: Sha, state: z.string(),
  /** SHA-256 (hex) of the plan's canonical text, which is kept as the blob of that digest. */
  planDigest: Hex256,
  /** The run whose pass of the same tree under the same plan this one rests on. */
  reusedFrom: z.string().nullable(), vmId: z.string().nullable(),
  results: z.array(z.strictObject({
    name: z.string(), command: z.string(), exitCode: z.number().int().nullable(), timedOut: z.boolean(), wallMs: z.number(), /** Of the kept part of its output. */ outputDigest: BlobDigest,
  })),
  startedAt: Time.nullable(), endedAt: Time.nullable(),
})
export const EvidenceExchange = z.strictObject({
  callId: z.string(), attemptId: z.string().nullable(), role: z.string(), provider: z.string(), model: z.string(), status: z.number().int().nullable(), tries: z.number().int(),
  costMicroUsd: z.number().int(), /** The cost is the whole reservation, since nobody knows what was served. */ estimated: z.boolean(),
  /** Null: the body could not be kept, or there was none. */
  requestDigest: BlobDigest.nullable(), responseDigest: BlobDigest.nullable(), at: Time,
})
export const EvidenceApproval = z.strictObject({
  id: z.string(), kind: z.string(), subjectKind: z.string(), subjectId: z.string(), status: z.string(),
  /** SHA-256 (hex) of the canonical JSON of what was shown, which is kept as the blob of that digest; what was shown about the change itself stands here too. */
  payloadHash: Hex256, payload: z.unknown().optional(),
  decidedBy: z.string().nullable(), decidedAt: Time.nullable(), reason: z.string().nullable(), /** Decided by --yes, not by a person's eyes. */ byYesFlag: z.boolean(), usedAt: Time.nullable(),
})
/** What a person, or the agent reviewer, said about the change. */
export const EvidenceReview = z.strictObject({
  id: z.string(), kind: z.enum(['person', 'agent']), reviewer: z.string(), verdict: z.string(), /** Towards the number of people who had to approve. */ counts: z.boolean(),
  headSha: Sha, /** The merge approval that it was about; null for the agent reviewer, which comes before, and for words alone. */ approvalId: z.string().nullable(),
  score: z.number().int().nullable(), summaryDigest: BlobDigest, at: Time,
  comments: z.array(z.strictObject({ id: z.string(), path: z.string(), side: z.enum(['old', 'new']), startLine: z.number().int(), line: z.number().int(), bodyDigest: BlobDigest, resolvedBy: z.string().nullable() })),
})

export const EvidencePredicate = z.strictObject({
  swarmVersion: z.string(),
  project: z.strictObject({ id: z.string(), slug: z.string() }),
  repository: z.strictObject({ id: z.string(), slug: z.string(), defaultBranch: z.string() }),
  ticket: z.strictObject({ id: z.string(), title: z.string(), requirements: z.array(z.string()) }),
  change: z.strictObject({ id: z.string(), title: z.string(), createdAt: Time, mergedAt: Time }),
  commits: z.strictObject({
    /** Where the change left main, and its head, which was approved. */
    base: Sha, head: Sha,
    /** What main moved to (or contained) for this change, and its tree. */
    merged: Sha, tree: Sha,
    /** The check run that proves the merge, with the commit and tree that it ran on; null when no run is on record. */
    proof: z.strictObject({ checkId: z.string(), commit: Sha, tree: Sha }).nullable(),
  }),
  attempts: z.array(EvidenceAttempt), vms: z.array(EvidenceVm), checks: z.array(EvidenceCheck),
  model: z.strictObject({
    /** True when any answer came from a script and not from a model. */
    rehearsal: z.boolean(),
    providers: z.array(z.string()), models: z.array(z.string()), calls: z.number().int(), costMicroUsd: z.number().int(),
    /** In the order in which they were made. */
    exchanges: z.array(EvidenceExchange),
    /** SHA-256 over the canonical JSON of `[[callId, requestDigest, responseDigest], …]`, in order. */
    transcriptDigest: BlobDigest,
  }),
  approvals: z.array(EvidenceApproval),
  /** In the order in which they were given; bundles from before there were reviews have none. */
  reviews: z.array(EvidenceReview).optional(),
  sealedAt: Time,
})
export type EvidencePredicate = z.infer<typeof EvidencePredicate>

export const EvidenceStatement = z.strictObject({
  _type: z.literal(STATEMENT_TYPE),
  /** The merged commit, then its tree. */
  subject: z.tuple([
    z.strictObject({ name: z.string(), digest: z.strictObject({ gitCommit: Sha }) }),
    z.strictObject({ name: z.string(), digest: z.strictObject({ gitTree: Sha }) }),
  ]),
  predicateType: z.literal(PREDICATE_TYPE),
  predicate: EvidencePredicate,
})
export type EvidenceStatement = z.infer<typeof EvidenceStatement>

/** Every blob that a bundle names by its digest, once each. */
export function blobsOf({ predicate }: EvidenceStatement): string[] {
  return [...new Set([
    ...predicate.attempts.flatMap(({ agent }) => agent.definitionDigest ?? []),
    ...predicate.checks.flatMap((check) => [`sha256:${check.planDigest}`, ...check.results.map(({ outputDigest }) => outputDigest)]),
    ...predicate.approvals.map(({ payloadHash }) => `sha256:${payloadHash}`),
    ...(predicate.reviews ?? []).flatMap((review) => [review.summaryDigest, ...review.comments.map(({ bodyDigest }) => bodyDigest)]),
    ...predicate.model.exchanges.flatMap(({ requestDigest, responseDigest }) => [requestDigest ?? [], responseDigest ?? []].flat()),
  ])]
}

export { PAYLOAD_TYPE, PREDICATE_TYPE, STATEMENT_TYPE }
