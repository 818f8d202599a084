/*
 * Watches one microVM from outside: its guest by a ping over the channel, its VMM by a question on its control socket. Neither has a
 * deadline in plain time, since a host that is busy makes everything late, and a watchdog must not kill what is merely slow. A beat
 * counts as missed only when the host had CPU to give: this process ran on time, and the VMM neither ran nor waited for a CPU for most of it.
 */

/** Between two looks, ms. */
const BEAT_MS = 5_000
/** Beats that are missed in a row until a microVM is stuck: 30 s, as long as the lease after which a silent runner loses its work. */
const MISSES = 6
/** CPU time that a guest may have without an answer, ms: with 512 processes that want it, a reply needs some 10 s of it under emulation. */
const UNANSWERED_CPU_MS = 120_000
/** Without any answer for so long a microVM is of no use to anybody, whatever else the host does, ms. */
const UNANSWERED_MS = 10 * 60_000
/** This process was held up itself when it comes so late to a beat, ms. */
const LATE_MS = 1_000
/** A VMM is busy that ran for so much of what it may have, or one of whose threads ran or waited to run for so much of the time. */
const BUSY = 0.8

export interface HealthProbes {
  /** Resolves with the next sign of life of the guest; rejects, or never settles, when there is none. */
  ping(): Promise<void>
  /** What the VMM says that it does. Anything but the words below means that it stands still because somebody asked it to. */
  vmmState(): Promise<string>
  /** CPU time of the VMM so far, and of each of its threads how long it has run or waited for a CPU, ms. */
  cpu(): { usedMs: number; busyMs: ReadonlyMap<string, number> }
}

/** States of a VMM in which its guest should answer, and those from which it never goes on by itself. */
const RUNNING = ['running', 'suspended']
const BROKEN = ['internal-error', 'io-error', 'guest-panicked', 'watchdog', 'shutdown']

interface Question { asked: boolean; missed: number; ask(): Promise<void> }

/**
 * Watches until it is disposed, or has called `onStuck` once.
 * @param options.cores CPU time that the VMM may have at most, in cores
 */
export function watchHealth(probes: HealthProbes, options: { cores: number; onStuck: (detail: string) => void }): Disposable {
  let timer: NodeJS.Timeout | undefined
  let [lastMs, lastCpu] = [performance.now(), probes.cpu()]
  let [unansweredCpuMs, unansweredMs] = [0, 0]
  let standsStill = false
  let over = false

  const stuck = (detail: string) => {
    if (over) return
    over = true
    clearTimeout(timer)
    options.onStuck(detail)
  }
  const guest: Question = {
    asked: false, missed: 0,
    async ask() {
      await probes.ping()
      unansweredCpuMs = unansweredMs = 0
    },
  }
  const vmm: Question = {
    asked: false, missed: 0,
    async ask() {
      const state = await probes.vmmState()
      standsStill = !RUNNING.includes(state)
      if (BROKEN.includes(state)) stuck(`its VMM has stopped it: ${state}`)
    },
  }

  function put(question: Question): void {
    if (question.asked) return
    question.asked = true
    void question.ask().then(() => {
      question.asked = false
      question.missed = 0
    }, () => undefined) // what cannot be asked any more is over, or was asked for the last time
  }

  function look(): void {
    const [now, cpu] = [performance.now(), probes.cpu()]
    const wallMs = now - lastMs
    const usedMs = cpu.usedMs - lastCpu.usedMs
    // One of them decides: the others wait a little at every turn on a busy host.
    const busiestMs = Math.max(0, ...[...cpu.busyMs].map(([thread, ms]) => ms - (lastCpu.busyMs.get(thread) ?? 0)))
    ;[lastMs, lastCpu] = [now, cpu]
    const heldUp = wallMs > BEAT_MS + LATE_MS
    const busy = usedMs >= BUSY * options.cores * wallMs || busiestMs >= BUSY * Math.min(1, options.cores) * wallMs
    if (standsStill) guest.missed = unansweredCpuMs = unansweredMs = 0
    else if (guest.asked && !heldUp) {
      unansweredCpuMs += usedMs
      unansweredMs += wallMs
    }
    if (!heldUp && !busy) for (const question of standsStill ? [vmm] : [vmm, guest]) if (question.asked) question.missed += 1
    if (vmm.missed >= MISSES) return stuck(`its VMM did not answer for ${MISSES * BEAT_MS / 1_000} s, while the host had CPU for it`)
    if (guest.missed >= MISSES) return stuck(`its guest gave no sign of life for ${MISSES * BEAT_MS / 1_000} s, while the host had CPU for it`)
    if (unansweredCpuMs >= UNANSWERED_CPU_MS) return stuck(`its guest gave no sign of life in ${UNANSWERED_CPU_MS / 1_000} s of CPU time`)
    if (unansweredMs >= UNANSWERED_MS) return stuck(`its guest gave no sign of life for ${UNANSWERED_MS / 60_000} minutes`)
    for (const question of [vmm, guest]) put(question)
    timer = setTimeout(look, BEAT_MS)
    timer.unref()
  }

  timer = setTimeout(look, BEAT_MS)
  timer.unref()
  return {
    [Symbol.dispose]() {
      over = true
      clearTimeout(timer)
    },
  }
}
