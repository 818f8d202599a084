import { GRACE_MS, type AttemptFact, type Facts, type Finding } from './facts.ts'

const over = (at: number | null, facts: Facts, grace = GRACE_MS): boolean => at !== null && at < facts.asOf - grace

/** Groups by a key, in the order given. */
export function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const item of items) groups.set(keyOf(item), [...groups.get(keyOf(item)) ?? [], item])
  return groups
}

/** I1: every ticket has ended, or stands where the engine or a person can move it, and one can say why. */
export function ticketsCanMove(facts: Facts): Finding[] {
  const attempts = groupBy(facts.attempts, ({ ticketId }) => ticketId)
  const changes = new Map(facts.changes.map((change) => [change.ticketId, change]))
  const entries = new Map(facts.entries.map((entry) => [entry.ticketId, entry]))
  const checks = new Map(facts.checks.filter(({ purpose }) => purpose === 'attempt').map((check) => [check.attemptId ?? '', check]))
  const mergeChecks = new Map(facts.checks.map((check) => [check.id, check]))
  const asked = new Set(facts.approvals.filter(({ status }) => status === 'pending').map(({ subjectId }) => subjectId))
  const reviewing = new Set(facts.reviewing)
  const findings: Finding[] = []
  for (const ticket of facts.tickets) {
    const stuck = (message: string, evidence: Record<string, unknown> = {}): void => {
      findings.push({ invariant: 'I1', subject: { kind: 'ticket', id: ticket.id }, message: `it is ${ticket.state}, but ${message}`, evidence: { state: ticket.state, ...evidence }, repairable: false })
    }
    const mine = attempts.get(ticket.id) ?? []
    const change = changes.get(ticket.id)
    const entry = entries.get(ticket.id)
    switch (ticket.state) {
      case 'claimed': case 'in_progress': {
        const running = mine.filter(({ state }) => state === 'running')
        if (running.length === 0) stuck('no attempt of it is running', { attempts: brief(mine) })
        for (const attempt of running) if (attempt.leaseExpiresAt === null) stuck(`its attempt ${attempt.id} is under no lease, so that nothing would ever end it`, { attemptId: attempt.id })
        break
      }
      case 'verifying': {
        const waiting = mine.filter(({ state }) => state === 'gating' || state === 'verifying')
        if (waiting.length === 0) stuck('no attempt of it is in the gate or in its checks', { attempts: brief(mine) })
        for (const attempt of waiting.filter(({ state }) => state === 'verifying')) {
          const check = checks.get(attempt.id)
          if (!check) stuck(`no check run was queued for ${attempt.id}`, { attemptId: attempt.id })
          else if (over(check.endedAt, facts, 2 * GRACE_MS)) stuck(`nobody acted on the check run ${check.id}, which is ${check.state}`, { attemptId: attempt.id, checkId: check.id, endedAt: check.endedAt })
        }
        break
      }
      case 'in_review':
        if (change?.state !== 'open') stuck('it has no open change', { change: change?.state ?? null })
        else if (!asked.has(change.id) && !reviewing.has(change.id)) stuck('nobody is asked about its change', { changeId: change.id })
        break
      case 'merging':
        if (entry?.state !== 'queued' && entry?.state !== 'checking') stuck('it has no place in the merge queue', { entry: entry?.state ?? null })
        else if (entry.state === 'checking' && (entry.checkId === null || !mergeChecks.has(entry.checkId))) stuck('the check run that its merge waits for does not exist', { checkId: entry.checkId })
        break
      case 'on_hold':
        if ((ticket.holdReason ?? '').trim() === '') stuck('nothing says why')
        break
      case 'done':
        if (change?.state !== 'merged') stuck('its change is not merged', { change: change?.state ?? null })
        break
    }
  }
  return findings
}

/** States of a ticket in which an attempt of it may hold a lease; a held or cancelled one waits for its runner to save. */
const MAY_RUN = new Set(['claimed', 'in_progress', 'on_hold', 'cancelled'])
/** Those of a ticket that a person held and set going again while its runner still saves: nobody claims it before that has ended. */
const MAY_SAVE = new Set(['ready', 'changes_requested'])

/** I2: at most one attempt of a ticket may write, under the ticket's own fence; fences only rise. */
export function oneWriter(facts: Facts): Finding[] {
  const tickets = new Map(facts.tickets.map((ticket) => [ticket.id, ticket]))
  const findings: Finding[] = []
  for (const [ticketId, attempts] of groupBy(facts.attempts, (attempt) => attempt.ticketId)) {
    const ticket = tickets.get(ticketId)
    if (!ticket) continue
    const subject = { kind: 'ticket', id: ticketId }
    const report = (message: string, evidence: Record<string, unknown>): void => { findings.push({ invariant: 'I2', subject, message, evidence, repairable: false }) }
    const running = attempts.filter(({ state }) => state === 'running')
    if (running.length > 1) report(`${running.length} attempts of it may write at once`, { attempts: brief(running) })
    for (const attempt of running) {
      if (attempt.fence !== ticket.fence) report(`its running attempt ${attempt.id} holds fence ${attempt.fence}; the ticket's is ${ticket.fence}`, { attemptId: attempt.id, fence: attempt.fence, ticketFence: ticket.fence })
      const saves = attempt.stopReason !== null && MAY_SAVE.has(ticket.state)
      if (!MAY_RUN.has(ticket.state) && !saves) report(`it is ${ticket.state} while its attempt ${attempt.id} is running`, { attemptId: attempt.id, state: ticket.state })
    }
    const ordered = attempts.toSorted((a, b) => a.number - b.number)
    ordered.forEach((attempt, index) => {
      const before = ordered[index - 1]
      if (before && attempt.fence <= before.fence) report(`the fence of attempt ${attempt.number} (${attempt.fence}) is not above that of attempt ${before.number} (${before.fence})`, { attempts: brief([before, attempt]) })
    })
    const highest = Math.max(...attempts.map(({ fence }) => fence))
    if (highest > ticket.fence) report(`an attempt holds fence ${highest}, above the ticket's own ${ticket.fence}`, { highest, ticketFence: ticket.fence })
  }
  return findings
}

const brief = (attempts: readonly AttemptFact[]): object[] => attempts.map(({ id, number, state, fence }) => ({ id, number, state, fence }))
