import { GRACE_MS, type Facts, type Finding } from './facts.ts'

/** I6: nothing outlives its owner by more than 30 s: leases, microVMs, model calls, and what a host finds of its own. */
export function nothingOutlives(facts: Facts): Finding[] {
  const findings: Finding[] = []
  const report = (kind: string, id: string, message: string, evidence: Record<string, unknown>, repairable = true): void => { findings.push({ invariant: 'I6', subject: { kind, id }, message, evidence, repairable }) }
  const long = (at: number | null): boolean => at !== null && at < facts.asOf - GRACE_MS
  for (const attempt of facts.attempts) {
    if (attempt.state === 'running' && long(attempt.leaseExpiresAt)) report('attempt', attempt.id, `its lease ended ${seconds(facts.asOf - (attempt.leaseExpiresAt ?? 0))} ago and nobody ended it`, { leaseExpiresAt: attempt.leaseExpiresAt, asOf: facts.asOf })
  }
  for (const check of facts.checks) {
    if (check.state === 'running' && long(check.leaseExpiresAt)) report('check', check.id, `its lease ended ${seconds(facts.asOf - (check.leaseExpiresAt ?? 0))} ago and nobody ended it`, { leaseExpiresAt: check.leaseExpiresAt, asOf: facts.asOf })
  }
  const ends = new Map([...facts.attempts, ...facts.checks].map((work) => [work.id, work]))
  const seen = new Map(facts.runners.map((runner) => [runner.id, runner.seenAt]))
  for (const vm of facts.vms) {
    if (vm.state === 'ended') continue
    const work = ends.get(vm.workId)
    const seenAt = seen.get(vm.runnerId) ?? null
    if (work && work.state !== 'running' && long(work.endedAt)) report('vm', vm.id, `it is ${vm.state} on record; the work it was for (${vm.workId}) ended ${seconds(facts.asOf - (work.endedAt ?? 0))} ago`, { runnerId: vm.runnerId, workId: vm.workId, endedAt: work.endedAt }, false)
    else if (long(seenAt) && work?.state !== 'running') report('vm', vm.id, `it is ${vm.state} on record; its runner ${vm.runnerId} was not heard from for ${seconds(facts.asOf - (seenAt ?? 0))}`, { runnerId: vm.runnerId, seenAt }, false)
  }
  for (const call of facts.calls) {
    if (call.state === 'open' && !call.ownerAlive && (facts.settled || long(call.createdAt))) report('call', call.id, 'it holds its reservation, and the process that made it is gone', { owner: call.owner, reservedMicroUsd: call.reservedMicroUsd })
  }
  for (const { kind, id, slot, vmId, sinceMs, problem, recorded } of facts.host.leftovers) {
    if (facts.settled || sinceMs < facts.now - GRACE_MS) report(kind, id, problem, { slot, vmId, sinceMs }, recorded)
  }
  return findings
}

function seconds(ms: number): string {
  return `${Math.round(ms / 1_000)} s`
}
