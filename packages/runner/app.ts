import { randomUUID } from 'node:crypto'
import { ApiError } from '@swarm/contract/errors.ts'
import { claim } from '@swarm/contract/runner-protocol.ts'
import type { VmLimits, Work } from '@swarm/contract/runner-protocol.ts'
import { tightestLimits } from '@swarm/core/checks/limits.ts'
import type { Logger } from 'pino'
import type { z } from 'zod'
import { makeAhead } from './attempts/ahead.ts'
import { runAttempt } from './attempts/attempt.ts'
import { runCheck } from './attempts/check.ts'
import { Holding, requireLease } from './attempts/holding.ts'
import type { Held } from './attempts/holding.ts'
import { instant, Lease } from './attempts/lease.ts'
import type { Machines } from './attempts/machine.ts'
import { Reporter } from './attempts/reporter.ts'
import { createServerLink } from './link/server-link.ts'
import { startOperations } from './vms/operations.ts'
import { startSampling } from './vms/sampling.ts'

/** How long the server may hold a claim that finds nothing, ms: an answer that was lost on its way is asked for again while the lease of its work lasts. */
const CLAIM_WAIT_MS = 10_000
/** As often as the server wants its leases renewed where nobody says otherwise (the setting `lease.beatMs`). */
const BEAT_MS = 10_000

/** A runner that stops waits so long for a server that does not answer, ms: less than its parent gives it for an orderly end. */
const PARTING_MS = 3_000

export interface RunnerOptions {
  readonly serverUrl: string
  readonly token: string
  readonly machines: Machines
  /** How often this runner says that it is alive, ms. */
  readonly beatMs?: number
  /** MicroVMs at once, for attempts and for checks. */
  readonly attemptSlots: number
  readonly checkSlots: number
  /** What a microVM of this host gets at most. */
  readonly ceilings?: { readonly [Name in keyof VmLimits]?: VmLimits[Name] | undefined }
  readonly logger: Logger
}

export interface Runner extends AsyncDisposable {
  /** Settles when the runner can go on no more (its token was refused); rejects with the reason. */
  readonly running: Promise<void>
}

/** Starts to ask the server for work and to carry it out, until it is disposed: then work is saved and given back. */
export function startRunner(options: RunnerOptions): Runner {
  const { logger } = options
  const closing = new AbortController()
  const bootId = randomUUID()
  const parted = new AbortController()
  const link = createServerLink({
    baseUrl: options.serverUrl, token: options.token, parted: parted.signal,
    onTrouble: (error, path) => {
      logger.warn({ err: error, path }, 'the server cannot be reached; trying again')
      // It stops together with its server, most likely: then nobody is there to give the work back to, and the checkpoints are all there is.
      if (!closing.signal.aborted || link.unansweredMs() <= PARTING_MS) return
      for (const held of holding.all()) held.lost.abort(error)
      parted.abort(error)
    },
  })
  const holding = new Holding(link, {
    bootId, beatMs: options.beatMs ?? BEAT_MS, vms: () => options.machines.driver.live(), noRoom: () => options.machines.noRoom(), usage: () => options.machines.vms.live().flatMap(({ usage, vm }) => usage === null ? [] : [{ ...usage, paused: vm.paused }]),
    onError: (error) => {
      logger.warn({ err: error }, 'heartbeat failed')
      if (error instanceof ApiError && error.code === 'runner_superseded') superseded(error)
    },
  })
  options.machines.onNoRoom(() => { if (!closing.signal.aborted) holding.tell() })
  const working = new Set<Promise<void>>()
  const sampling = startSampling(options.machines.vms, (error) => { logger.warn({ err: error }, 'a microVM could not be measured') })
  const operations = startOperations({
    link, vms: options.machines.vms, driver: options.machines.driver, acquireFork: options.machines.acquireFork, noRoom: options.machines.noRoom, bootId, serverUrl: options.serverUrl, token: options.token, closing: closing.signal, onTrouble: (error, what) => { logger.warn({ err: error }, what) },
  })

  async function carryOut(work: Work, lease: Lease): Promise<void> {
    const key = { kind: work.kind, id: work.kind === 'attempt' ? work.attemptId : work.checkId, fence: work.fence }
    const stop = new AbortController()
    const lost = new AbortController()
    const log = logger.child({ correlationId: work.correlationId, [`${work.kind}Id`]: key.id, fence: work.fence })
    lost.signal.addEventListener('abort', () => {
      log.warn({ err: lost.signal.reason }, 'its lease is gone')
      stop.abort(lost.signal.reason)
    }, { once: true })
    // At once, so that this work has its turn before any that is claimed after it.
    const place = options.machines.acquire(work, AbortSignal.any([stop.signal, lost.signal]))
    place.catch(() => undefined) // the work fails with it
    const permit = (): void => { requireLease({ key, lease, lost }) }
    const reporter = new Reporter(link, key, {
      signal: lost.signal, permit,
      onError: (error) => {
        if (!lost.signal.aborted) lost.abort(error)
      },
    })
    const held: Held = { key, work, reporter, stop, lost, lease }
    holding.add(held)
    log.info({ work: work.kind }, 'claimed')
    try {
      const deps = { link, machines: options.machines, place, reporter, stop: stop.signal, lost: lost.signal, permit, onTrouble: (error: unknown, what: string) => { log.warn({ err: error }, what) } }
      await (work.kind === 'attempt' ? runAttempt(work, deps) : runCheck(work, deps))
      log.info('ended')
    } catch (error) {
      // The report itself was refused or cannot be made: the lease runs out and the server decides.
      log.error({ err: error }, 'ended without a report')
    } finally {
      await place.then((room) => { room[Symbol.dispose]() }, () => undefined)
      holding.remove(held)
    }
  }

  /** One claim. A server that only fails for now is no reason to end: what this runner holds goes on, and it asks again. */
  async function ask(body: z.input<NonNullable<typeof claim.body>>): Promise<{ work: Work; lease: Lease } | null> {
    try {
      // The answer may have been long on its way: a beat confirms the lease at once (Holding.add).
      const answer = await link.call(claim, { body }, closing.signal)
      return answer.work && { work: { ...answer.work, limits: tightestLimits(answer.work.limits, answer.work.limits, options.ceilings ?? {}) }, lease: new Lease(answer.work.leaseTtlMs, instant()) }
    } catch (error) {
      if (!(error instanceof ApiError) || error.status < 500) throw error
      logger.error({ err: error }, 'the server cannot give work')
      return null
    }
  }

  /** Claims one kind of work, up to its slots. Finished work is never stuck behind new work: checks have slots of their own. */
  async function claimLoop(kind: Work['kind'], slots: number): Promise<void> {
    const busy = new Set<Promise<void>>()
    while (!closing.signal.aborted) {
      if (busy.size >= slots) {
        await Promise.race(busy)
        continue
      }
      // Work that would only wait for room here is left to other hosts.
      await options.machines.untilRoom(closing.signal)
      const body = {
        waitMs: CLAIM_WAIT_MS, kinds: [kind], driver: options.machines.driver.name, isolates: options.machines.driver.isolates,
        capacity: options.attemptSlots + options.checkSlots, bootId, claimKey: randomUUID(),
      }
      const claimed = await ask(body)
      if (!claimed) continue
      const job = carryOut(claimed.work, claimed.lease).finally(() => {
        busy.delete(job)
        working.delete(job)
      })
      busy.add(job)
      working.add(job)
    }
    await Promise.all(busy)
  }

  /** Ends without an error when the runner is closed. */
  async function untilClosed(loop: Promise<void>): Promise<void> {
    try {
      await loop
    } catch (error) {
      if (!closing.signal.aborted) throw error
    }
  }

  const replaced = Promise.withResolvers<never>()
  replaced.promise.catch(() => undefined) // it is also what `running` ends with

  /** A newer process has this runner's name: what this one held was taken back, and it must claim no more. */
  function superseded(error: ApiError): void {
    for (const held of holding.all()) held.lost.abort(error)
    closing.abort(error)
    replaced.reject(error)
  }

  const { memoryMb: mostMemoryMb = Infinity, diskMb: mostDiskMb = Infinity } = options.ceilings ?? {}
  // In the size that claimed work gets here.
  const ahead = makeAhead(link, {
    prepare: ({ image, limits }, signal) => options.machines.prepare({ image, limits: { memoryMb: Math.min(limits.memoryMb, mostMemoryMb), diskMb: Math.min(limits.diskMb, mostDiskMb) } }, signal),
  }, closing.signal, { onTrouble: (error, what) => { logger.warn({ err: error }, what) } })
  const loops = [claimLoop('attempt', options.attemptSlots), claimLoop('check', options.checkSlots), ahead].map(untilClosed)
  return {
    running: Promise.race([replaced.promise, Promise.all(loops).then(() => undefined)]),
    async [Symbol.asyncDispose]() {
      closing.abort(new Error('the runner stops'))
      for (const held of holding.all()) held.stop.abort(new Error('the runner stops'))
      await operations[Symbol.asyncDispose]()
      await Promise.allSettled([...loops, ...working])
      await sampling[Symbol.asyncDispose]()
      await holding[Symbol.asyncDispose]()
    },
  }
}
