import { z } from 'zod'

const UNITS_MS = { h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const

/** A time, ms since the epoch: `2026-01-31`, `2026-01-31T12:00:00Z`, or so long ago: `12h`, `7d`, `4w`. */
export const Since = z.string().transform((text, context) => {
  const [, count, unit] = /^(\d{1,4})([hdw])$/.exec(text) ?? []
  const at = count === undefined ? Date.parse(text) : Date.now() - Number(count) * UNITS_MS[unit as keyof typeof UNITS_MS]
  if (Number.isFinite(at) && at >= 0) return at
  context.addIssue({ code: 'custom', message: 'give a date such as 2026-01-31, or how long ago, such as 12h, 7d or 4w' })
  return z.NEVER
})
