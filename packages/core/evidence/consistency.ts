import { canonicalJson } from '../approvals/approval.ts'

/** The parts of a statement that speak about each other (contract/evidence.ts has all of them). */
interface Statement {
  readonly subject: readonly [{ readonly digest: { readonly gitCommit: string } }, { readonly digest: { readonly gitTree: string } }]
  readonly predicate: {
    readonly change: { readonly id: string }
    readonly commits: { readonly head: string; readonly merged: string; readonly tree: string; readonly proof: { readonly checkId: string; readonly commit: string; readonly tree: string } | null }
    readonly attempts: readonly { readonly id: string; readonly state: string; readonly headSha: string | null; readonly vmIds: readonly string[] }[]
    readonly vms: readonly { readonly id: string }[]
    readonly checks: readonly { readonly id: string; readonly commit: string; readonly tree: string; readonly state: string; readonly reusedFrom: string | null; readonly results: readonly { readonly exitCode: number | null; readonly timedOut: boolean }[] }[]
    readonly model: {
      readonly rehearsal: boolean; readonly providers: readonly string[]; readonly models: readonly string[]; readonly calls: number; readonly costMicroUsd: number; readonly transcriptDigest: string
      readonly exchanges: readonly Exchange[]
    }
    readonly reviews?: readonly { readonly id: string; readonly kind: string; readonly verdict: string; readonly counts: boolean; readonly headSha: string; readonly approvalId: string | null }[] | undefined
    readonly approvals: readonly { readonly id: string; readonly kind: string; readonly subjectId: string; readonly status: string; readonly payload?: unknown; readonly payloadHash: string; readonly usedAt: number | null }[]
  }
}
interface Exchange { readonly callId: string; readonly provider: string; readonly model: string; readonly costMicroUsd: number; readonly requestDigest: string | null; readonly responseDigest: string | null }

/** SHA-256 in hexadecimal; handed in, since core has no library. */
export type Sha256 = (text: string) => string

/** One digest for a whole conversation: a call that is left out, added or moved changes it. */
export function transcriptDigest(exchanges: readonly Exchange[], sha256: Sha256): string {
  return `sha256:${sha256(canonicalJson(exchanges.map(({ callId, requestDigest, responseDigest }) => [callId, requestDigest, responseDigest])))}`
}

/** What in a statement contradicts itself, in words; nothing when it holds together. The signature says who said it, this whether it can be true. */
export function contradictions({ subject, predicate }: Statement, sha256: Sha256): string[] {
  const { commits, attempts, checks, model, approvals, change } = predicate
  const found: string[] = []
  const must = (holds: boolean, words: string): void => { if (!holds) found.push(words) }
  must(subject[0].digest.gitCommit === commits.merged, 'the subject is another commit than the one that was merged')
  must(subject[1].digest.gitTree === commits.tree, 'the subject is another tree than that of the merged commit')

  const byId = new Map(checks.map((check) => [check.id, check]))
  must(byId.size === checks.length, 'a check run is listed twice')
  const { proof } = commits
  if (proof === null) must(checks.some(({ state, commit }) => state === 'passed' && commit === commits.head), 'no check run is on record for what was merged, nor for its head')
  else {
    const check = byId.get(proof.checkId)
    must(check !== undefined, `the check run ${proof.checkId} that proves the merge is missing`)
    must(check === undefined || check.state === 'passed', `the check run ${proof.checkId} that proves the merge did not pass`)
    must(check === undefined || (check.commit === proof.commit && check.tree === proof.tree), `the check run ${proof.checkId} was about another commit or tree`)
    // A batch is checked as one: then the proof is about a later commit, which contains this one (only the repository can show that).
    must(proof.commit !== commits.merged || proof.tree === commits.tree, 'the merged commit has one tree, and was checked with another')
  }
  for (const check of checks) {
    must(check.state !== 'passed' || check.results.every(({ exitCode, timedOut }) => exitCode === 0 && !timedOut), `the check run ${check.id} passed with a check that did not`)
    must(check.reusedFrom === null || byId.has(check.reusedFrom), `the check run ${check.reusedFrom ?? ''} that ${check.id} rests on is missing`)
  }

  must(attempts.some(({ state, headSha }) => state === 'succeeded' && headSha === commits.head), 'no attempt that succeeded handed in the head that was merged')
  const vms = new Set(predicate.vms.map(({ id }) => id))
  for (const { id, vmIds } of attempts) must(vmIds.every((vm) => vms.has(vm)), `a microVM of the attempt ${id} is missing`)

  must(model.calls === model.exchanges.length, 'the number of model calls is not that of the exchanges')
  must(model.costMicroUsd === model.exchanges.reduce((sum, { costMicroUsd }) => sum + costMicroUsd, 0), 'the cost is not the sum of the exchanges')
  must(same(model.providers, model.exchanges.map(({ provider }) => provider)) && same(model.models, model.exchanges.map((each) => each.model)), 'the models are not those of the exchanges')
  must(model.rehearsal === model.providers.includes('rehearsal'), 'it is not said rightly whether a rehearsal answered')
  must(model.transcriptDigest === transcriptDigest(model.exchanges, sha256), 'the digest of the conversation is not that of its exchanges')

  for (const { id, payload, payloadHash } of approvals) must(payload === undefined || sha256(canonicalJson(payload)) === payloadHash, `the approval ${id} is about something else than what it shows`)
  const used = approvals.find((each) => each.kind === 'merge' && each.subjectId === change.id && each.status === 'approved' && each.usedAt !== null && headOf(each.payload) === commits.head)
  must(used !== undefined, 'no approval of the merge of exactly this head was used')
  const { reviews = [] } = predicate
  must(reviews.every(({ kind, counts }) => kind === 'person' || !counts), 'the approval of an agent was counted')
  // An approval from before there were reviews has none.
  const under = reviews.filter(({ approvalId }) => approvalId !== null && approvalId === used?.id)
  must(under.length === 0 || under.some(({ verdict, counts, headSha }) => verdict === 'approve' && counts && headSha === commits.head), 'nobody approved the merge that was made')
  return found
}

function headOf(payload: unknown): unknown {
  return typeof payload === 'object' && payload !== null && 'headSha' in payload ? payload.headSha : undefined
}

function same(listed: readonly string[], used: readonly string[]): boolean {
  return canonicalJson(listed) === canonicalJson([...new Set(used)].sort())
}
