import { DomainError } from '@swarm/core/errors.ts'
import type { HostRoom } from './room.ts'

/*
 * Decides whether a microVM has room on this host, so that no host is ever driven into swap, out of memory, or a full disk by what was
 * placed on it: what was promised to each microVM and is not taken yet counts as gone. Requests are placed in their order. One that
 * does not fit waits, and those behind it with it, so that none is starved by smaller ones.
 */

/** What one microVM may take at most. Disk and template space in bytes; `cores` of CPU time. */
export interface Needs {
  /** Guest and VMM. */
  memoryBytes: number
  cores: number
  scratchBytes: number
  /** The template that must be made for it first, in memory too; 0 when it is there. */
  templateBytes: number
}

export interface AdmissionRules {
  /** Left to the host itself, its other programs, and page cache. */
  memoryReserveBytes: number
  diskReserveBytes: number
  /** CPU time that is promised for each core: agents wait for their model most of the time. */
  cpuOvercommit: number
}

/** Room that is held for one microVM. Disposing gives it back, once. */
export interface Place extends Disposable {
  /** Its template is in memory, and seen there. */
  templateMade(): void
  /** From now on what it has taken of what was promised is asked. */
  occupy(usage: () => Promise<Taken>): void
}

export interface Admission {
  /**
   * Waits until there is room, and holds it. Keeps its turn from the moment of the call.
   * @throws DomainError vm_too_large when this host can never place it; the signal's reason
   */
  acquire(needs: Needs, signal: AbortSignal): Promise<Place>
  /** Waits until nobody waits and this would fit; holds nothing. Before work is asked for: what finds no room is left to other hosts. */
  untilRoom(needs: Needs, signal: AbortSignal): Promise<void>
  /** @throws DomainError vm_too_large when this host can never place it */
  requirePossible(needs: Needs): void
  /** Whether this much memory more would still leave room for what was promised. */
  spareMemory(bytes: number): boolean
  /** Why somebody waits now, for people; null while nobody does. */
  readonly problem: string | null
  /** Told of every change of `problem`. */
  onProblem(listener: (problem: string | null) => void): void
}

export interface AdmissionOptions {
  readRoom: () => HostRoom
  rules: AdmissionRules
  /** Gives back memory that is not needed for work (waiting processes); asked once each time that memory is short. */
  relieve?: () => Promise<void>
  /** Room may come from elsewhere (another program ends), of which the kernel tells nobody: while somebody waits, it is looked for so often, ms. */
  lookAgainMs?: number
}

type Taken = { privateBytes: number; scratchBytes: number }
/** `taken`: as last heard of. */
interface Held { needs: Needs; usage: (() => Promise<Taken>) | null; taken: Taken }
interface Waiting { needs: Needs; place: (() => void) | null; resolve: () => void }

const NOTHING: Taken = { privateBytes: 0, scratchBytes: 0 }
const LOOK_AGAIN_MS = 2_000

export function createAdmission(options: AdmissionOptions): Admission {
  const { rules } = options
  const held = new Set<Held>()
  const queue: Waiting[] = []
  const watchers = new Set<Waiting>()
  const listeners = new Set<(problem: string | null) => void>()
  let problem: string | null = null
  let [deciding, again, relieved] = [false, false, false]
  let timer: NodeJS.Timeout | undefined

  function say(next: string | null): void {
    if (next === problem) return
    problem = next
    for (const listener of listeners) listener(next)
  }

  /** What is free now and promised to nobody. */
  function unpromised(): Needs {
    const room = options.readRoom()
    const left: Needs = {
      memoryBytes: room.memoryFreeBytes - rules.memoryReserveBytes, cores: room.cores * rules.cpuOvercommit, scratchBytes: room.scratchFreeBytes - rules.diskReserveBytes, templateBytes: room.templateFreeBytes,
    }
    for (const each of held) subtract(left, each.needs, each.taken)
    return left
  }

  async function decide(): Promise<void> {
    if (queue.length + watchers.size === 0) return settle(null)
    // What is free is read after what was taken: a microVM that grows meanwhile is counted twice, and never not at all.
    await Promise.all([...held].map(async (each) => { each.taken = await each.usage?.().catch(() => null) ?? NOTHING }))
    const left = unpromised()
    for (let head = queue[0]; head !== undefined; head = queue[0]) {
      const lacks = lacking(head.needs, left)
      if (lacks !== null) return settle(lacks)
      queue.shift()
      subtract(left, head.needs)
      head.place?.()
      head.resolve()
    }
    let unmet: string | null = null
    for (const watcher of watchers) {
      const lacks = lacking(watcher.needs, left)
      unmet ??= lacks
      if (lacks !== null) continue
      watchers.delete(watcher)
      watcher.resolve()
    }
    settle(unmet)
  }

  function settle(next: string | null): void {
    say(next)
    if (next === null) {
      relieved = false
      return
    }
    timer = setTimeout(wake, options.lookAgainMs ?? LOOK_AGAIN_MS)
    if (relieved || options.relieve === undefined) return
    relieved = true
    void options.relieve().then(wake, wake)
  }

  /** Decides anew; once more when something changes meanwhile. */
  function wake(): void {
    again = true
    if (deciding) return
    deciding = true
    clearTimeout(timer)
    void (async () => {
      while (again) {
        again = false
        clearTimeout(timer)
        await decide().catch((error: unknown) => { settle(`what it has cannot be read: ${String(error)}`) })
      }
      deciding = false
    })()
  }

  /** Waits for `waiting` to be resolved, or takes it away when the signal comes first. */
  async function wait(waiting: Waiting, ready: Promise<void>, signal: AbortSignal): Promise<void> {
    const leave = Promise.withResolvers<never>()
    const onAbort = () => {
      const at = queue.indexOf(waiting)
      if (at >= 0) queue.splice(at, 1)
      watchers.delete(waiting)
      leave.reject(signal.reason)
      wake()
    }
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      wake()
      await Promise.race([ready, leave.promise])
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  function placeFor(each: Held): Place {
    return {
      templateMade() {
        each.needs = { ...each.needs, templateBytes: 0 }
        wake()
      },
      occupy(usage) {
        each.usage = usage
      },
      [Symbol.dispose]() {
        if (held.delete(each)) wake()
      },
    }
  }

  function requirePossible(needs: Needs): void {
    const never = lacking(needs, most(options.readRoom(), rules))
    if (never !== null) throw new DomainError('vm_too_large', { problem: never })
  }

  return {
    get problem() { return problem },
    requirePossible,
    onProblem: (listener) => void listeners.add(listener),
    spareMemory: (bytes) => problem === null && unpromised().memoryBytes > bytes,
    async acquire(needs, signal) {
      signal.throwIfAborted()
      requirePossible(needs)
      const each: Held = { needs, usage: null, taken: NOTHING }
      const { promise, resolve } = Promise.withResolvers<void>()
      const waiting: Waiting = { needs, resolve, place: () => { held.add(each) } }
      queue.push(waiting)
      try {
        await wait(waiting, promise, signal)
      } catch (error) {
        // It may have been placed in the moment in which it was given up.
        if (held.delete(each)) wake()
        throw error
      }
      return placeFor(each)
    },
    async untilRoom(needs, signal) {
      signal.throwIfAborted()
      const { promise, resolve } = Promise.withResolvers<void>()
      const waiting: Waiting = { needs, resolve, place: null }
      watchers.add(waiting)
      await wait(waiting, promise, signal)
    },
  }
}

function subtract(left: Needs, needs: Needs, taken: Taken = NOTHING): void {
  // A template lies in memory, besides what its microVMs take.
  left.memoryBytes -= Math.max(0, needs.memoryBytes - taken.privateBytes) + needs.templateBytes
  left.cores -= needs.cores
  left.scratchBytes -= Math.max(0, needs.scratchBytes - taken.scratchBytes)
  left.templateBytes -= needs.templateBytes
}

/** What a host that does nothing else could give. */
function most(room: HostRoom, rules: AdmissionRules): Needs {
  return { memoryBytes: room.memoryTotalBytes - rules.memoryReserveBytes, cores: room.cores * rules.cpuOvercommit, scratchBytes: room.scratchTotalBytes - rules.diskReserveBytes, templateBytes: room.templateTotalBytes }
}

/** What there is too little of, in words to follow "room for no further microVM"; null when there is enough. */
function lacking(needs: Needs, left: Needs): string | null {
  const memoryBytes = needs.memoryBytes + needs.templateBytes
  // What needs nothing has room on the fullest host: there may be less than the reserve.
  if (memoryBytes > Math.max(0, left.memoryBytes)) return `${gigabytes(left.memoryBytes)} of memory free, ${gigabytes(memoryBytes)} needed`
  // Sums of fractions of cores are not exact.
  if (needs.cores > left.cores + 1e-9) return `${cores(left.cores)} of CPU time left to promise, ${cores(needs.cores)} needed`
  if (needs.scratchBytes > Math.max(0, left.scratchBytes)) return `${gigabytes(left.scratchBytes)} of disk free, ${gigabytes(needs.scratchBytes)} needed`
  if (needs.templateBytes > left.templateBytes) return `${gigabytes(left.templateBytes)} free for templates, ${gigabytes(needs.templateBytes)} needed`
  return null
}

/** Of 2^30 bytes. */
const gigabytes = (bytes: number) => `${(Math.max(0, bytes) / 1024 ** 3).toFixed(1)} GB`
const cores = (amount: number) => `${Math.max(0, Math.round(amount * 100) / 100)} cores`
