import { randomUUID } from 'node:crypto'
import { createClient, type Client } from '@swarm/contract/client.ts'
import { decideApproval, showApproval, type Approval } from '@swarm/contract/endpoints/approvals.ts'
import { importRepository } from '@swarm/contract/endpoints/repositories.ts'
import { cancelTicket, holdTicket, retryTicket, showTicket, type Ticket } from '@swarm/contract/endpoints/tickets.ts'
import { ApiError } from '@swarm/contract/errors.ts'
import { claim, complete, fail, registerRunner } from '@swarm/contract/runner-protocol.ts'
import { git } from '@swarm/git/run.ts'
import { answered, seen, type Inject, type Site } from './site.ts'

const refusedWith = (result: PromiseSettledResult<unknown>, ...codes: string[]): boolean => result.status === 'rejected' && result.reason instanceof ApiError && codes.includes(result.reason.code)

function patient(client: Client, { signal }: Site): Client {
  return {
    call: (endpoint, input, options) => answered(() => client.call(endpoint, input, { signal, ...options }), signal),
    text: (endpoint, input, options) => answered(() => client.text(endpoint, input, { signal, ...options }), signal),
  }
}
const asAdmin = (site: Site): Client => patient(site.installation.client, site)

const WORKED_ON = ['claimed', 'in_progress', 'verifying', 'in_review', 'merging']

async function aTicket(site: Site, target: number, states: readonly string[]): Promise<Ticket | null> {
  return await seen(() => {
    const found = site.people.tickets().filter(({ state }) => states.includes(state))
    return found.length === 0 ? null : found[target % found.length]!
  }, { signal: site.signal, withinMs: site.installation.pace.patienceMs / 4 })
}

async function anApproval(site: Site): Promise<{ approval: Approval } & Disposable> {
  const approval = await site.people.takeApproval(AbortSignal.any([site.signal, AbortSignal.timeout(site.installation.pace.patienceMs)]))
  return { approval, [Symbol.dispose]: () => { site.people.giveBack(approval) } }
}

/** Three people decide at once, one of them otherwise: one decision stands, the other one is told who was first. */
const decisions: Inject = async ({ target }, site) => {
  using held = await anApproval(site)
  const { approval } = held
  const client = asAdmin(site)
  const decide = (decision: 'approved' | 'revision_requested') => client.call(decideApproval, { params: { approvalId: approval.id }, body: { decision, payloadHash: approval.payloadHash, reason: 'decided in a race' } })
  const order = (['approved', 'revision_requested', 'approved'] as const).map((_, place, all) => all[(place + target) % all.length]!)
  const results = await Promise.allSettled(order.map(decide))
  const won = new Set(order.filter((_, place) => results[place]!.status === 'fulfilled'))
  if (won.size > 1) {
    const { status } = await client.call(showApproval, { params: { approvalId: approval.id } })
    site.violation({ invariant: 'I10', subject: { kind: 'approval', id: approval.id }, message: 'two different decisions were both accepted', evidence: { accepted: [...won], status }, repairable: false })
  }
  return won.size === 1 && results.some((result) => refusedWith(result, 'already_decided')) ? { at: Date.now() } : null
}

/** Somebody approves what they were not shown. */
const staleHash: Inject = async (_fault, site) => {
  using held = await anApproval(site)
  const { approval } = held
  const [result] = await Promise.allSettled([asAdmin(site).call(decideApproval, { params: { approvalId: approval.id }, body: { decision: 'approved', payloadHash: '0'.repeat(64) } })])
  if (result.status === 'fulfilled') site.violation({ invariant: 'I10', subject: { kind: 'approval', id: approval.id }, message: 'a decision about another payload was accepted', evidence: { shown: approval.payloadHash }, repairable: false })
  return refusedWith(result, 'payload_changed') ? { at: Date.now() } : null
}

/** A ticket in flight is held, then two people send it back at once: one of them is late. */
const holdRetry: Inject = async ({ target }, site) => {
  const ticket = await aTicket(site, target, WORKED_ON)
  if (ticket === null) return null
  const client = asAdmin(site)
  const params = { ticketId: ticket.id }
  const release = site.people.leaveAlone(ticket.id)
  try {
    await client.call(holdTicket, { params, body: { reason: 'held in a race' } })
    const results = await Promise.allSettled([1, 2].map(() => client.call(retryTicket, { params })))
    return results.some((result) => refusedWith(result, 'illegal_transition')) && results.some(({ status }) => status === 'fulfilled') ? { at: Date.now() } : null
  } finally {
    release()
  }
}

const cancelled: Inject = async ({ target }, site) => {
  const ticket = await aTicket(site, target, WORKED_ON.filter((state) => state !== 'merging'))
  if (ticket === null) return null
  const { state } = await asAdmin(site).call(cancelTicket, { params: { ticketId: ticket.id }, body: { reason: 'cancelled in a race' } })
  return state === 'cancelled' ? { at: Date.now() } : null
}

async function aRunner(site: Site, name: string) {
  const { token } = await asAdmin(site).call(registerRunner, { body: { name } })
  return patient(createClient({ baseUrl: site.installation.serverUrl, token }), site)
}

/** Another runner writes about work that is not its own, with a fence that no attempt ever had. */
const staleFence: Inject = async ({ target }, site) => {
  const ticket = await aTicket(site, target, ['claimed', 'in_progress'])
  if (ticket === null) return null
  const attempt = (await asAdmin(site).call(showTicket, { params: { ticketId: ticket.id } })).history.at(-1)
  if (attempt === undefined) return null
  const stranger = await aRunner(site, 'stranger')
  const key = { id: attempt.id, fence: 0 }
  const [ended, failed] = await Promise.allSettled([
    stranger.call(complete, { body: { ...key, kind: 'attempt', headSha: '0'.repeat(40), summary: 'not mine' } }),
    stranger.call(fail, { body: { ...key, kind: 'attempt', failureClass: 'agent', reason: 'not mine', message: '', wipSha: null } }),
  ])
  for (const result of [ended, failed]) if (result.status === 'fulfilled') site.violation({ invariant: 'I2', subject: { kind: 'attempt', id: attempt.id }, message: 'a write with a stale fence was accepted', evidence: { fence: 0 }, repairable: false })
  return refusedWith(ended, 'stale_fence') && refusedWith(failed, 'stale_fence') ? { at: Date.now() } : null
}

/** A runner claims twice with one key, gets one piece of work, vanishes, and comes back when its lease is gone. */
const ghost: Inject = async (_fault, site) => {
  const { signal } = site
  const runner = await aRunner(site, 'ghost')
  const body = { waitMs: 0, kinds: ['attempt' as const], driver: 'ghost', isolates: true, capacity: 1, bootId: randomUUID(), claimKey: randomUUID() }
  let askedMs = 0
  const works = await seen(async () => {
    askedMs = performance.now()
    const found = (await Promise.all([1, 2].map(() => runner.call(claim, { body })))).flatMap(({ work }) => (work?.kind === 'attempt' ? [work] : []))
    return found.length === 0 ? null : found
  }, { signal })
  const [work] = works ?? []
  if (work === undefined) return null
  // An answer that was a lease on its way may be about other work: what was first taken by this key is lost by then.
  if (performance.now() - askedMs < site.installation.pace.lease.ttlMs && new Set(works?.map(({ attemptId }) => attemptId)).size > 1) site.violation({ invariant: 'I2', subject: { kind: 'attempt', id: work.attemptId }, message: 'one claim took two pieces of work', evidence: { works: works?.map(({ attemptId }) => attemptId) }, repairable: false })
  const key = { kind: 'attempt' as const, id: work.attemptId, fence: work.fence }
  return await seen(async () => {
    const { history } = await asAdmin(site).call(showTicket, { params: { ticketId: work.ticketId } })
    if (!history.some(({ id, state }) => id === work.attemptId && state !== 'running')) return null
    const [result] = await Promise.allSettled([runner.call(complete, { body: { ...key, headSha: work.baseSha, summary: 'too late' } })])
    if (result.status === 'fulfilled') site.violation({ invariant: 'I2', subject: { kind: 'attempt', id: work.attemptId }, message: 'a completion after the lease was accepted', evidence: { fence: work.fence }, repairable: false })
    return refusedWith(result, 'stale_fence') ? { at: Date.now() } : null
  }, { signal, withinMs: work.leaseTtlMs + 15_000 })
}

/** Somebody else commits to the origin of a repository, and main is fast-forwarded to that. */
const foreignPush: Inject = async ({ index }, site) => {
  const { gamma, projectId, signal } = site
  const outcome = await seen(async () => {
    await git(gamma.origin, ['fetch', '--quiet', '--force', gamma.path, '+refs/heads/main:refs/heads/main'])
    const blob = (await git(gamma.origin, ['hash-object', '-w', '--stdin'], { input: `from elsewhere, ${index}\n` })).stdout.trim()
    const tree = (await git(gamma.origin, ['ls-tree', 'refs/heads/main'])).stdout
    const made = (await git(gamma.origin, ['mktree'], { input: `${tree}100644 blob ${blob}\telsewhere-${index}.txt\n` })).stdout.trim()
    const commit = (await git(gamma.origin, ['-c', 'user.name=Elsewhere', '-c', 'user.email=elsewhere@example.com', 'commit-tree', '-p', 'refs/heads/main', '-m', 'Come from elsewhere', made])).stdout.trim()
    await git(gamma.origin, ['update-ref', 'refs/heads/main', commit])
    const [taken] = await Promise.allSettled([asAdmin(site).call(importRepository, { body: { projectId, slug: 'gamma', source: gamma.origin } })])
    // Swarm merged meanwhile: their histories parted, and it is tried again on what is there now.
    return taken.status === 'fulfilled' && taken.value.outcome === 'fast_forwarded' ? { at: Date.now() } : null
  }, { signal })
  return outcome
}

export const RACE_FAULTS = {
  'race-decisions': decisions, 'race-stale-hash': staleHash, 'race-hold-retry': holdRetry, 'race-cancel': cancelled,
  'race-stale-fence': staleFence, 'race-repeat': ghost, 'foreign-push': foreignPush,
} satisfies Record<string, Inject>
