import { DomainError } from '@swarm/core/errors.ts'

/** A place in a list that is ordered by a number, most often a time, and an id: just behind this row. */
export interface Position { readonly at: number; readonly id: string }

const CURSOR = /^(-?\d{1,16})\.([A-Z]{2,4}-[0-9A-Z]{8})$/

/** @throws DomainError `invalid_input` when it is no cursor of ours */
export function readPosition(cursor: string | undefined): Position | null {
  if (cursor === undefined) return null
  const match = CURSOR.exec(cursor)
  if (!match) throw new DomainError('invalid_input', { problem: 'the cursor is not one that Swarm gave', field: 'cursor' })
  return { at: Number(match[1]), id: match[2] ?? '' }
}

/** A page of rows, of which one more than `limit` was read. @param cursorOf the cursor just behind a row */
export function page<Row, Item>(rows: readonly Row[], limit: number, present: (row: Row) => Item, cursorOf: (row: Row) => string): { items: Item[]; nextCursor: string | null } {
  const last = rows[limit - 1]
  return { items: rows.slice(0, limit).map(present), nextCursor: rows.length > limit && last !== undefined ? cursorOf(last) : null }
}

/** Of lists in the order of `created_at` and `id`. */
export const byCreation = (row: { readonly created_at: number; readonly id: string }): string => `${row.created_at}.${row.id}`
