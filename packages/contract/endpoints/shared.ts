import { z } from 'zod'

/** A page by cursor: pass `nextCursor` back as `cursor` until it is null. */
export const PageQuery = z.object({ cursor: z.string().max(200).optional(), limit: z.coerce.number().int().min(1).max(200).default(50) })
export function pageOf<T extends z.ZodType>(item: T) {
  return z.object({ items: z.array(item), nextCursor: z.string().nullable() })
}
/** A parameter of a query that may be given more than once. */
export function repeated<T extends z.ZodType>(item: T, most: number) {
  return z.union([z.array(item).min(1).max(most), item]).transform((given) => [given].flat() as z.output<T>[])
}
/** ms since the epoch. */
export const Time = z.number().int()
export const Slug = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'lower-case letters, digits and hyphens, at most 63')
