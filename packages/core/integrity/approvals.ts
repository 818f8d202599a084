import type { ApprovalFact, Facts, Finding } from './facts.ts'
import type { Replay } from './replay.ts'
import { groupBy } from './tickets.ts'

/** I10: what was approved was done at most once, and on what the person was shown. */
export function approvalsAreKept(facts: Facts, replay: Replay): Finding[] {
  const findings: Finding[] = []
  const report = (kind: string, id: string, message: string, evidence: Record<string, unknown>): void => { findings.push({ invariant: 'I10', subject: { kind, id }, message, evidence, repairable: false }) }
  const approvals = new Map(facts.approvals.map((approval) => [approval.id, approval]))
  for (const approval of facts.approvals) {
    const evidence = { status: approval.status, usedAt: approval.usedAt }
    if (approval.payloadDigest !== approval.payloadHash) report('approval', approval.id, 'what it is about is not what its hash was made of', { payloadHash: approval.payloadHash, digest: approval.payloadDigest })
    if (approval.usedAt !== null && approval.status !== 'approved') report('approval', approval.id, `it was used, though it is ${approval.status}`, evidence)
    const replayed = replay.approvals.get(approval.id)
    if (replayed && replayed.decisions > 1) report('approval', approval.id, `it was decided ${replayed.decisions} times`, { decisions: replayed.decisions })
    if (replayed && replayed.uses > 1) report('approval', approval.id, `it was used ${replayed.uses} times`, { uses: replayed.uses })
  }
  for (const [id, entries] of groupBy(facts.entries.filter(({ approvalId, state }) => approvalId !== null && state === 'merged'), ({ approvalId }) => approvalId ?? '')) {
    if (entries.length > 1) report('approval', id, `${entries.length} merges rest on it`, { changes: entries.map(({ changeId }) => changeId) })
  }
  const entries = new Map(facts.entries.map((entry) => [entry.changeId, entry]))
  for (const change of facts.changes) {
    if (change.state !== 'merged') continue
    const entry = entries.get(change.id)
    const approval = approvals.get(entry?.approvalId ?? '')
    if (!entry || !approval) report('change', change.id, 'it was merged without an approval', { approvalId: entry?.approvalId ?? null })
    else mergedAsApproved(approval, change, report)
  }
  return findings
}

function mergedAsApproved(approval: ApprovalFact, change: Facts['changes'][number], report: (kind: string, id: string, message: string, evidence: Record<string, unknown>) => void): void {
  const shown = approval.payload !== null && typeof approval.payload === 'object' ? approval.payload as Record<string, unknown> : {}
  const evidence = { approvalId: approval.id, status: approval.status, usedAt: approval.usedAt, shown: { changeId: shown['changeId'] ?? null, headSha: shown['headSha'] ?? null }, headSha: change.headSha }
  if (approval.kind !== 'merge' || approval.status !== 'approved') report('change', change.id, `it was merged on ${approval.id}, which is ${approval.status} and of kind ${approval.kind}`, evidence)
  else if (approval.usedAt === null) report('change', change.id, `it was merged on ${approval.id}, which is not marked as used`, evidence)
  if (shown['changeId'] !== change.id || shown['headSha'] !== change.headSha) report('change', change.id, `what was merged is not what ${approval.id} showed`, evidence)
}
