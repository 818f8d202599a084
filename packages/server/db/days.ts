export const DAY_MS = 86_400_000

/** A day as the databases count it, from the epoch on (UTC), as `2026-01-31`. */
export const dayOf = (day: number): string => new Date(day * DAY_MS).toISOString().slice(0, 10)
