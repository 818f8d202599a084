import type { Epic, PlanTicket } from './plan.ts'

/** A key as it is stored: lower-case letters, digits and hyphens, at most 63; the same for every spelling of it. */
export function normalKey(key: string): string {
  return key.trim().toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-+|-+$/g, '').slice(0, 63).replace(/-+$/, '')
}

/** Spellings of requirement ids as the spec has them ("r1" → "R1"); unknown ones stay, for validation to name. */
export function spelledAs(ids: readonly string[], spec: readonly string[]): string[] {
  const bySpelling = new Map(spec.map((id) => [id.toUpperCase(), id]))
  return [...new Set(ids.map((id) => bySpelling.get(id.trim().toUpperCase()) ?? id.trim()))]
}

/** Epics of a further chunk joined to those so far: the same key means the same epic. A requirement stays where it was first. */
export function mergeEpics(soFar: readonly Epic[], more: readonly Epic[]): Epic[] {
  const merged = new Map(soFar.map((epic) => [epic.key, epic]))
  const owned = new Set(soFar.flatMap((epic) => epic.requirements))
  for (const epic of more) {
    const before = merged.get(epic.key)
    const fresh = epic.requirements.filter((id) => !owned.has(id))
    for (const id of fresh) owned.add(id)
    merged.set(epic.key, {
      key: epic.key, title: before?.title ?? epic.title,
      requirements: [...before?.requirements ?? [], ...fresh], dependsOn: [...new Set([...before?.dependsOn ?? [], ...epic.dependsOn])],
    })
  }
  return [...merged.values()]
}

/**
 * Tickets of a further expansion joined to those so far. A key that is taken is renamed after its epic, and so are the
 * dependencies on it within the same answer: expansions do not see each other's keys.
 */
export function mergeTickets(soFar: readonly PlanTicket[], more: readonly PlanTicket[]): PlanTicket[] {
  const taken = new Set(soFar.map((ticket) => ticket.key))
  const own = new Set(more.map((ticket) => ticket.key))
  const renamed = new Map<string, string>()
  for (const { key, epic } of more) {
    if (!taken.has(key)) continue
    let name = normalKey(`${epic}-${key}`)
    for (let number = 2; taken.has(name) || own.has(name) || [...renamed.values()].includes(name); number++) name = `${normalKey(`${epic}-${key}`).slice(0, 58)}-${number}`
    renamed.set(key, name)
  }
  return [...soFar, ...more.map((ticket) => ({
    ...ticket, key: renamed.get(ticket.key) ?? ticket.key, dependsOn: ticket.dependsOn.map((key) => renamed.get(key) ?? key),
  }))]
}

/** Applies a repair: entries by key change the fields that they give, new ones are completed by `complete`, removed ones go. */
export function patched<T extends { readonly key: string }>(entries: readonly T[], changes: readonly (Partial<T> & { readonly key: string })[], remove: readonly string[], complete: (change: Partial<T> & { readonly key: string }) => T): T[] {
  const merged = new Map(entries.filter((entry) => !remove.includes(entry.key)).map((entry) => [entry.key, entry]))
  for (const change of changes) {
    const given = Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined)) as typeof change
    const before = merged.get(change.key)
    merged.set(change.key, before ? { ...before, ...given } : complete(given))
  }
  return [...merged.values()]
}
