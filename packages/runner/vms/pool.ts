import type { Template } from '../drivers/driver.ts'

/*
 * Processes that have loaded a template and wait to become microVMs, so that a restore need not start one. How many wait follows the
 * demand of each template, not a setting: as many as were taken within any BURST_MS of the last KEEP_MS, at least one meanwhile, none after.
 */

/** Restores closer together than this find no time in between to start a replacement: 0.1 s on an idle host, 1 to 5 s on two busy cores under emulation. */
const BURST_MS = 5_000
/** What was not used for so long is not kept: a waiting process takes 35 MB of memory for itself and saves its restore 0.05 to 0.1 s (docs/microvms.md). */
const KEEP_MS = 5 * 60_000
/** A template takes 0.2 to 0.3 GB of memory, and 5 to 10 s to boot again; teams pause for meetings, and go home. */
const TEMPLATE_KEEP_MS = 30 * 60_000

export interface SlotPoolOptions<Slot> {
  /** Starts a process that has loaded this template. */
  start(template: Template): Promise<Slot>
  /** Ends one that nobody has taken. */
  end(slot: Slot): Promise<void>
  /** Resolves when its process is over, however that came: it is replaced. */
  gone(slot: Slot): Promise<unknown>
  /** Processes that wait at most, over all templates; 0 keeps none. */
  most: number
  /** Started at the same time ahead of demand, at most: they must not take the CPU from work. */
  startsAtOnce: number
  /** Whether this host has memory for another one; none is started ahead of demand otherwise. */
  mayGrow?: () => boolean
  /** Nothing has used this template for half an hour. */
  onIdleTemplate: (template: Template) => Promise<void>
  onNotice: (notice: string) => void
}

export interface SlotPool<Slot> extends AsyncDisposable {
  /** Says that a template is in use, before its first restore too: one process waits for it from now on. */
  use(template: Template): void
  /** One that waits, or one that is started now. */
  take(template: Template): Promise<Slot>
  /** Starts what the demand asks for. Called when a restore is over: before, it would take the CPU from it. */
  replenish(template: Template): void
  /** Returns when at least `count` wait, whatever the demand; those are kept like others. */
  prewarm(template: Template, count: number): Promise<void>
  /** Ends all that wait: the host needs their memory for work. */
  trim(): Promise<void>
  waiting(template: Template): number
}

interface Item<Slot> { readonly started: Promise<Slot | null> }
interface Entry<Slot> {
  readonly template: Template
  readonly items: Item<Slot>[]
  /** When processes were taken, ms, the oldest first, of the last KEEP_MS. */
  takes: number[]
  usedAtMs: number
  /** Asked for by `prewarm` and not taken yet. */
  floor: number
  /** A start has failed since its last use: nobody starts another one ahead of demand until then. */
  failed: boolean
  timer: NodeJS.Timeout | undefined
}

/** How many processes should wait now. `takes`: times in ms, ascending. Exported for its test. */
export function wantedProcesses(takes: readonly number[], usedAtMs: number, nowMs: number): number {
  const recent = takes.filter((at) => nowMs - at < KEEP_MS)
  const used = nowMs - usedAtMs < KEEP_MS ? 1 : 0
  return recent.reduce((most, from, index) => Math.max(most, recent.slice(index).filter((at) => at - from < BURST_MS).length), used)
}

export function createSlotPool<Slot>(options: SlotPoolOptions<Slot>): SlotPool<Slot> {
  const entries = new Map<string, Entry<Slot>>()
  /** Ends that are under way and nobody awaits; disposing does. */
  const ending = new Set<Promise<void>>()
  let starting = 0
  let disposed = false
  const total = () => [...entries.values()].reduce((sum, { items }) => sum + items.length, 0)

  function entryOf(template: Template): Entry<Slot> {
    const known = entries.get(template.key)
    if (known !== undefined) return known
    const entry: Entry<Slot> = { template, items: [], takes: [], usedAtMs: performance.now(), floor: 0, failed: false, timer: undefined }
    entries.set(template.key, entry)
    return entry
  }

  function launch(entry: Entry<Slot>): Item<Slot> {
    starting += 1
    const item: Item<Slot> = {
      started: options.start(entry.template).catch((error: unknown) => {
        // It is no one's fault yet: the restore that would have used it starts its own, and reports.
        entry.failed = true
        remove(entry, item)
        options.onNotice(`a waiting microVM could not be started: ${error instanceof Error ? error.message : String(error)}`)
        return null
      }).finally(() => { starting -= 1 }),
    }
    entry.items.push(item)
    void item.started.then(async (slot) => {
      for (const each of entries.values()) settle(each)
      if (slot === null) return
      await options.gone(slot)
      if (!remove(entry, item)) return
      options.onNotice('a waiting microVM has ended, and is replaced')
      end(options.end(slot))
      settle(entry)
    })
    return item
  }

  /** Whether it was still there: from then on it is the caller's. */
  function remove(entry: Entry<Slot>, item: Item<Slot>): boolean {
    const at = entry.items.indexOf(item)
    if (at >= 0) entry.items.splice(at, 1)
    return at >= 0
  }

  function end(over: Promise<void>): void {
    const noted = over.catch((error: unknown) => { options.onNotice(`a waiting microVM could not be ended: ${String(error)}`) }).finally(() => { ending.delete(noted) })
    ending.add(noted)
  }

  async function endItem(item: Item<Slot>): Promise<void> {
    const slot = await item.started
    if (slot !== null) await options.end(slot)
  }

  /** Brings the number that wait to what is wanted, and comes back when that may become less. */
  function settle(entry: Entry<Slot>): void {
    if (disposed || entries.get(entry.template.key) !== entry) return
    const now = performance.now()
    entry.takes = entry.takes.filter((at) => now - at < KEEP_MS)
    if (now - entry.usedAtMs >= KEEP_MS) entry.floor = 0
    const wanted = Math.max(Math.min(wantedProcesses(entry.takes, entry.usedAtMs, now), options.most), entry.floor)
    while (entry.items.length > wanted) {
      const item = entry.items.pop()
      if (item !== undefined) end(endItem(item))
    }
    while (!entry.failed && entry.items.length < wanted && starting < options.startsAtOnce && total() < options.most && (options.mayGrow?.() ?? true)) launch(entry)
    clearTimeout(entry.timer)
    if (now - entry.usedAtMs >= TEMPLATE_KEEP_MS && entry.items.length === 0) {
      entries.delete(entry.template.key)
      void options.onIdleTemplate(entry.template).catch((error: unknown) => { options.onNotice(`an idle template could not be let go: ${String(error)}`) })
      return
    }
    const next = [...entry.takes.slice(0, 1).map((at) => at + KEEP_MS), entry.usedAtMs + KEEP_MS, entry.usedAtMs + TEMPLATE_KEEP_MS].filter((at) => at > now)
    entry.timer = setTimeout(() => { settle(entry) }, Math.max(1, Math.min(...next) - now) + 1)
    entry.timer.unref()
  }

  function used(template: Template): Entry<Slot> {
    const entry = entryOf(template)
    entry.usedAtMs = performance.now()
    entry.failed = false
    return entry
  }

  return {
    use: (template) => settle(used(template)),
    async take(template) {
      const entry = used(template)
      entry.takes.push(entry.usedAtMs)
      entry.floor = Math.max(0, entry.floor - 1)
      const slot = await entry.items.shift()?.started
      return slot ?? options.start(template)
    },
    replenish: (template) => settle(entryOf(template)),
    async prewarm(template, count) {
      const entry = used(template)
      entry.floor = count
      while (!disposed && entry.items.length < count) launch(entry)
      settle(entry)
      await Promise.all(entry.items.map((item) => item.started))
    },
    async trim() {
      await Promise.all([...entries.values()].flatMap((entry) => {
        entry.floor = 0
        return entry.items.splice(0)
      }).map(endItem))
    },
    waiting: (template) => entries.get(template.key)?.items.length ?? 0,
    async [Symbol.asyncDispose]() {
      disposed = true
      for (const { timer } of entries.values()) clearTimeout(timer)
      await this.trim()
      await Promise.all(ending)
    },
  }
}
