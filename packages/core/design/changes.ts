import type { Epic, PlanFinding, PlanTicket } from './plan.ts'
import type { Spec } from './spec.ts'
import { shorten } from './text.ts'

/** What differs between two versions of a spec, as far as a plan is concerned. */
export interface SpecChanges {
  readonly added: readonly { readonly id: string; readonly text: string }[]
  readonly changed: readonly { readonly id: string; readonly before: string; readonly after: string }[]
  readonly removed: readonly { readonly id: string; readonly text: string }[]
  /** Parts that hold for everything and are not the same: then every requirement is touched. */
  readonly everywhere: readonly ('constraints' | 'acceptance')[]
}

/** Acceptance criteria by the requirement that they are about (under its heading, or opened by its id); '' for the whole. */
function acceptanceOf(spec: Spec): Map<string, string[]> {
  const ids = new Set(spec.requirements.map(({ id }) => id))
  const found = new Map<string, string[]>()
  for (const { requirement, text } of spec.acceptance) {
    const opened = /^([A-Za-z][A-Za-z0-9.-]*):?\s/.exec(text)?.[1]?.replace(/[:.]$/, '') ?? ''
    const owner = requirement ?? (ids.has(opened) ? opened : '')
    found.set(owner, [...found.get(owner) ?? [], text])
  }
  return found
}

const same = (one: readonly string[], two: readonly string[]): boolean => one.length === two.length && one.every((line, index) => line.replace(/\s+/g, ' ').trim() === two[index]?.replace(/\s+/g, ' ').trim())

/** Compares by id. Prose, titles and places do not count; a requirement's acceptance criteria do. */
export function specChanges(before: Spec, after: Spec): SpecChanges {
  const old = new Map(before.requirements.map((requirement) => [requirement.id, requirement.text]))
  const now = new Set(after.requirements.map(({ id }) => id))
  const [was, is] = [acceptanceOf(before), acceptanceOf(after)]
  return {
    added: after.requirements.filter(({ id }) => !old.has(id)).map(({ id, text }) => ({ id, text })),
    changed: after.requirements.flatMap(({ id, text }) => {
      const earlier = old.get(id)
      return earlier === undefined || (same([earlier], [text]) && same(was.get(id) ?? [], is.get(id) ?? [])) ? [] : [{ id, before: earlier, after: text }]
    }),
    removed: before.requirements.filter(({ id }) => !now.has(id)).map(({ id, text }) => ({ id, text })),
    everywhere: [
      ...(same(before.constraints, after.constraints) && same(before.outOfScope, after.outOfScope) ? [] : ['constraints' as const]),
      ...(same(was.get('') ?? [], is.get('') ?? []) ? [] : ['acceptance' as const]),
    ],
  }
}

/** The plan that a new version starts from. */
export interface PlanBase<T extends PlanTicket = PlanTicket> {
  readonly epics: readonly Epic[]
  readonly tickets: readonly T[]
  /** Keys of tickets that are started or done: they stay as they are. */
  readonly started: readonly string[]
  /** Keys that no new ticket may have. */
  readonly taken: readonly string[]
}

export interface Touched<T extends PlanTicket = PlanTicket> {
  /** Without the requirements that are gone, and without epics that are empty by that. */
  readonly epics: readonly Epic[]
  /** Tickets that stay. Those that are started name only the requirements that they still fulfil. */
  readonly kept: readonly T[]
  readonly dropped: readonly T[]
  /** Requirements of the new version that no kept ticket fulfils. */
  readonly open: readonly string[]
  /** What a started ticket was built for and is otherwise now: its key with the lines that tell so. */
  readonly outdated: readonly { readonly key: string; readonly requirements: readonly string[]; readonly lines: readonly string[] }[]
}

/** Which tickets of a plan a new version of the spec leaves as they are. */
export function touchedBy<T extends PlanTicket>(base: PlanBase<T>, changes: SpecChanges, requirements: readonly string[]): Touched<T> {
  const removed = new Set(changes.removed.map(({ id }) => id))
  const earlier = new Map(changes.changed.map(({ id, before }) => [id, before]))
  const added = new Set(changes.added.map(({ id }) => id))
  // What holds for everything has changed: nothing that was planned for the old version can be taken as planned for the new one.
  const changed = new Set(changes.everywhere.length > 0 ? requirements.filter((id) => !added.has(id)) : earlier.keys())
  const started = new Set(base.started)
  const isTouched = (id: string): boolean => removed.has(id) || changed.has(id)
  const dropped = base.tickets.filter((ticket) => !started.has(ticket.key) && ticket.requirements.some(isTouched))
  const gone = new Set(dropped.map(({ key }) => key))
  const kept = base.tickets.filter(({ key }) => !gone.has(key)).map((ticket) => ({ ...ticket, requirements: ticket.requirements.filter((id) => !isTouched(id)) }))
  const fulfilled = new Set(kept.flatMap((ticket) => ticket.requirements))
  const epics = base.epics.map((epic) => ({ ...epic, requirements: epic.requirements.filter((id) => !removed.has(id)) }))
    .filter((epic, index) => epic.requirements.length > 0 || (base.epics[index]?.requirements.length ?? 0) === 0 || kept.some((ticket) => ticket.epic === epic.key))
  const names = new Set(epics.map(({ key }) => key))
  return {
    epics: epics.map((epic) => ({ ...epic, dependsOn: epic.dependsOn.filter((key) => names.has(key)) })),
    kept, dropped, open: requirements.filter((id) => !fulfilled.has(id)),
    outdated: base.tickets.filter((ticket) => started.has(ticket.key) && ticket.requirements.some(isTouched)).map((ticket) => ({
      key: ticket.key, requirements: ticket.requirements.filter(isTouched),
      lines: ticket.requirements.filter((id) => changed.has(id)).map((id) => `${ticket.key} (${shorten(ticket.title, 80)}) was built for ${id}${earlier.has(id) ? `: ${shorten(earlier.get(id) ?? '', 200)}` : ', under other constraints'}`),
    })),
  }
}

/**
 * Kept and new tickets as one plan: who waited for a dropped ticket waits for those that took its requirements (or, where none
 * did, for nothing), and a new ticket waits for the started ones whose work it changes.
 */
export function joinedPlan<T extends PlanTicket>(touched: Touched<T>, fresh: readonly PlanTicket[]): PlanTicket[] {
  const keys = new Set([...touched.kept, ...fresh].map(({ key }) => key))
  const dropped = new Map(touched.dropped.map((ticket) => [ticket.key, ticket]))
  const heirs = (key: string): string[] => {
    const ticket = dropped.get(key)
    return fresh.filter((each) => each.requirements.some((id) => ticket?.requirements.includes(id))).map((each) => each.key)
  }
  const kept = touched.kept.map((ticket) => ({ ...ticket, dependsOn: [...new Set(ticket.dependsOn.flatMap((key) => (dropped.has(key) ? heirs(key) : keys.has(key) ? [key] : [])))].filter((key) => key !== ticket.key) }))
  const waiting = fresh.map((ticket) => ({
    ...ticket, dependsOn: [...new Set([...ticket.dependsOn, ...touched.outdated.filter((each) => each.requirements.some((id) => ticket.requirements.includes(id))).map((each) => each.key)])],
  }))
  return [...kept, ...waiting]
}

/** Says what stays although the spec no longer asks for it. */
export function leftBehind(touched: Touched, changes: SpecChanges): PlanFinding[] {
  const removed = new Set(changes.removed.map(({ id }) => id))
  return touched.outdated.flatMap(({ key, requirements }) => requirements.filter((id) => removed.has(id)).map((id): PlanFinding => ({
    code: 'removed_but_started', severity: 'warning', place: [key, id], message: `Requirement ${id} is gone, but the ticket ${key} that fulfils it is started: it stays as it is.`,
    remedy: 'Cancel the ticket, or add a requirement that takes its work out again.',
  })))
}
