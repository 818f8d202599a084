import { claim, complete, fail, heartbeat, release, status, upcoming } from '@swarm/contract/runner-protocol.ts'
import type { AttemptWork, Upcoming, VmUsage, Work } from '@swarm/contract/runner-protocol.ts'
import type { AgentEvent } from '@swarm/contract/agent-protocol.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { z } from 'zod'
import type { Database } from '../../db/database.ts'
import type { Trx } from '../../db/unit.ts'
import type { HttpTarget } from '../../http/register.ts'
import { register } from '../../http/register.ts'
import type { CheckSource, WorkSource } from '../../ports.ts'
import { endMissingVms, endVmsOf, isNewProcess, isVmOf, recordVm, requireRunner, sawRunner } from './service.ts'
import type { KnownRunner, OnVm } from './service.ts'

/** Bodies with a transcript or a check's output are larger than other requests. */
const LARGE_BODY_BYTES = 64 * 1024 * 1024
/** A claim that found nothing looks again at the latest after this many ms, whatever woke or did not wake it. */
const NET_MS = 10_000

/** What the tickets feature does with reports about attempts. */
export interface AttemptReports {
  recordStatus(trx: Trx, runnerId: string, report: {
    id: string; fence: number; sequence: number
    step?: { name: string; state: string; wallMs?: number | undefined; detail?: string | undefined } | undefined
    vmId?: string | undefined
    activity: readonly AgentEvent[]
    egressRefusals: readonly Record<string, unknown>[]
    wipSha?: string | undefined
  }): Promise<boolean>
  complete(trx: Trx, runnerId: string, report: { id: string; fence: number; headSha: string; summary: string }): Promise<void>
  fail(trx: Trx, runnerId: string, report: { id: string; fence: number; failureClass: AttemptFailure['failureClass']; reason: string; message: string; wipSha: string | null }): Promise<void>
  release(trx: Trx, runnerId: string, report: { id: string; fence: number; reason: 'question' | 'shutdown'; wipSha: string | null; question?: { text: string; options: string[]; toolUseId: string; transcriptDigest: string } | undefined }): Promise<void>
  /** Ticket and project of an attempt, for the list of microVMs. */
  about(trx: Trx, attemptId: string): Promise<{ ticketId: string | null; projectId: string }>
}
type AttemptFailure = Parameters<CheckSource['fail']>[2]

export interface RunnerProtocolDependencies {
  readonly http: HttpTarget
  readonly db: Database
  readonly now: () => number
  readonly leaseTtlMs: number
  readonly attempts: WorkSource<AttemptWork>
  readonly attemptReports: AttemptReports
  readonly checks: CheckSource
  readonly aboutCheck: (trx: Trx, checkId: string) => Promise<{ ticketId: string | null; projectId: string }>
  /** What coming work starts from, without what is known. */
  readonly upcoming: (known: ReadonlySet<string>) => Promise<Upcoming[]>
  /** Takes note of what microVMs of this runner use, in a unit of its own: no lease depends on it. */
  readonly recordUsage: (runnerId: string, usage: readonly VmUsage[]) => Promise<void>
  readonly onVm?: OnVm
  /** Takes note that these secrets of this project went out with a request. */
  readonly secretsUsed: (trx: Trx, projectId: string, ids: readonly string[]) => Promise<void>
  readonly storeBlob: (content: string) => Promise<string>
  /** When the next ticket that waits for its retry may be claimed. */
  readonly nextRetryAt: () => Promise<number | null>
  readonly onFault: (error: unknown, what: string) => void
}

/** /claim, /heartbeat, /status, /complete, /fail, /release (contract/runner-protocol.ts says what each means). */
export function registerRunnerProtocol(deps: RunnerProtocolDependencies): void {
  const { db, http } = deps

  /** Takes note of a runner's call. What an earlier process of it held is taken back at the first call of a new one. */
  async function heardFrom(trx: Trx, runnerId: string, call: { bootId: string; driver?: string; isolates?: boolean; capacity?: number; noRoom?: string | null }): Promise<KnownRunner> {
    const runner = await requireRunner(trx, runnerId, true)
    const now = deps.now()
    const isNew = await isNewProcess(trx, runner, call.bootId, now)
    await sawRunner(trx, runner.id, { bootId: call.bootId, now, ...(isNew ? { noRoom: null } : {}), ...(call.noRoom === undefined ? {} : { noRoom: call.noRoom }), ...(call.driver === undefined ? {} : { driver: call.driver, isolates: call.isolates ?? false, capacity: call.capacity ?? 0 }) })
    if (isNew) {
      await deps.attempts.reconcile(trx, runner.id)
      await deps.checks.reconcile(trx, runner.id)
      await endVmsOf(trx, runner.id, now, deps.onVm)
    }
    return runner
  }

  register(http, claim, async ({ body, principal, signal }) => {
    const runner = await db.write((trx) => heardFrom(trx, principal.id, body))
    const until = deps.now() + body.waitMs
    using latch = db.wake.latch('work')
    while (true) {
      if (signal.aborted) return { work: null }
      const work = await take(runner, body.kinds, body.claimKey)
      const left = until - deps.now()
      if (work || left <= 0) return { work }
      const retryAt = await deps.nextRetryAt()
      const untilRetry = retryAt === null ? NET_MS : Math.max(1, retryAt - deps.now() + 1)
      await latch.wait({ signal, timeoutMs: Math.min(left, NET_MS, untilRetry) })
    }
  })

  async function take(runner: KnownRunner, kinds: readonly ('attempt' | 'check')[], claimKey: string): Promise<Work | null> {
    const check = kinds.includes('check') ? await takeFrom(deps.checks, (trx, report) => deps.checks.fail(trx, runner.id, report)) : null
    if (check || !kinds.includes('attempt')) return check
    return takeFrom(deps.attempts, (trx, report) => deps.attemptReports.fail(trx, runner.id, { ...report, wipSha: null }))

    /** Work that cannot be described (its repository or swarm.yml is broken) has failed with that reason: it is no fault of the runner, which goes on with other work. */
    async function takeFrom<W extends Work>(source: WorkSource<W>, giveUp: (trx: Trx, report: AttemptFailure) => Promise<void>): Promise<W | null> {
      const key = await db.write(async (trx) => {
        // A claim that is repeated while the first one still runs waits for it, and is given the same work. Whether it is drained is asked here: it may have waited long.
        return source.claim(trx, await requireRunner(trx, runner.id, true), claimKey)
      })
      if (!key) return null
      try {
        return await source.describe(key.id, key.fence)
      } catch (error) {
        const known = error instanceof DomainError ? error : null
        // It ended between the two: whoever ended it has said what comes next.
        if (known?.code === 'stale_fence') return null
        deps.onFault(error, `${key.id} cannot be started`)
        const message = error instanceof Error ? error.message : String(error)
        await db.write((trx) => giveUp(trx, {
          ...key, failureClass: known?.fault === 'user' ? 'policy' : 'infrastructure', reason: `${known?.code ?? 'internal'}: ${message}`.slice(0, 200), message: `${message} ${known?.remedy ?? ''}`.trim(),
        }))
        return null
      }
    }
  }

  register(http, heartbeat, async ({ body, principal }) => {
    const answer = await db.write(async (trx) => {
      const now = deps.now()
      const runner = await heardFrom(trx, principal.id, { bootId: body.bootId, noRoom: body.noRoom })
      await endMissingVms(trx, runner.id, body.vms, now, deps.leaseTtlMs, deps.onVm)
      const holding = body.holding.map(({ idleMs, ...item }) => ({ ...item, activityAtMs: idleMs === null ? null : now - idleMs }))
      const attempts = await deps.attempts.heartbeat(trx, runner.id, holding.filter((item) => item.kind === 'attempt'))
      const checks = await deps.checks.heartbeat(trx, runner.id, holding.filter((item) => item.kind === 'check'))
      return { stop: [...attempts, ...checks] }
    })
    await noteUsage(principal.id, body.usage)
    return answer
  })

  register(http, upcoming, async ({ body }) => ({ items: await deps.upcoming(new Set(body.known)) }))

  /** A fault here is nobody's but ours: no work is lost for a measurement. */
  async function noteUsage(runnerId: string, usage: readonly VmUsage[]): Promise<void> {
    if (usage.length > 0) await deps.recordUsage(runnerId, usage).catch((error: unknown) => { deps.onFault(error, 'what microVMs use was not recorded') })
  }

  register(http, status, async ({ body, principal }) => {
    // Before its end, after which no more is recorded.
    if (body.vm?.usage) await noteUsage(principal.id, [body.vm.usage])
    return db.write((trx) => recordStatus(trx, principal.id, body))
  }, { bodyLimitBytes: LARGE_BODY_BYTES })

  async function recordStatus(trx: Trx, runnerId: string, body: z.output<NonNullable<typeof status.body>>): Promise<{ recorded: boolean }> {
    const { vm, secretUses, ...report } = body
    const about = body.kind === 'attempt' ? await deps.attemptReports.about(trx, body.id) : await deps.aboutCheck(trx, body.id)
    const onlyVmEnd = vm?.state === 'ended' && !body.step && !body.wipSha && body.activity.length === 0 && body.egressRefusals.length === 0 && secretUses.length === 0
    // A microVM that ends is recorded whoever holds the work by now; everything else only under the current fence.
    const recorded = onlyVmEnd && await isVmOf(trx, runnerId, vm.id) ? true
      : body.kind === 'attempt' ? await deps.attemptReports.recordStatus(trx, runnerId, { ...report, vmId: vm?.id })
        : await deps.checks.recordStatus(trx, runnerId, { ...body, vmId: vm?.id })
    if (recorded && secretUses.length > 0) await deps.secretsUsed(trx, about.projectId, secretUses)
    if (vm) await recordVm(trx, runnerId, { ...vm, workKind: body.kind, workId: body.id, ...about }, deps.now(), deps.onVm)
    return { recorded }
  }

  register(http, complete, async ({ body, principal }) => {
    await db.write((trx) => body.kind === 'attempt' ? deps.attemptReports.complete(trx, principal.id, body) : deps.checks.complete(trx, principal.id, body))
    return { accepted: true as const }
  }, { bodyLimitBytes: LARGE_BODY_BYTES })

  register(http, fail, async ({ body, principal }) => {
    await db.write((trx) => body.kind === 'attempt' ? deps.attemptReports.fail(trx, principal.id, body) : deps.checks.fail(trx, principal.id, body))
    return { accepted: true as const }
  })

  register(http, release, async ({ body, principal }) => {
    if (body.kind === 'check') throw new DomainError('invalid_input', { problem: 'a check cannot be released', field: 'kind' })
    const { question } = body
    const digest = question ? await deps.storeBlob(JSON.stringify(question.transcript)) : ''
    await db.write((trx) => deps.attemptReports.release(trx, principal.id, {
      ...body, question: question ? { text: question.text, options: question.options, toolUseId: question.toolUseId, transcriptDigest: digest } : undefined,
    }))
    return { accepted: true as const }
  }, { bodyLimitBytes: LARGE_BODY_BYTES })
}
