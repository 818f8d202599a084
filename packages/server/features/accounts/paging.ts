import { DomainError } from '@swarm/core/errors.ts'
import type { After } from './queries.ts'

/** The cursor of a list that is newest first. @throws DomainError `invalid_input` */
export function readCursor(cursor: string | undefined): After {
  if (cursor === undefined) return null
  const match = /^(\d{1,16})\.([A-Z]{3}-[0-9A-Z]{8})$/.exec(cursor)
  if (!match) throw new DomainError('invalid_input', { problem: 'the cursor is not one that Swarm gave', field: 'cursor' })
  return { at: Number(match[1]), id: match[2]! }
}

/** A page of rows of which one more than `limit` was asked for. */
export function pageOfRows<R, T>(rows: readonly R[], limit: number, present: (row: R) => T, cursorOf: (row: R) => string): { items: T[]; nextCursor: string | null } {
  const last = rows[limit - 1]
  return { items: rows.slice(0, limit).map(present), nextCursor: rows.length > limit && last !== undefined ? cursorOf(last) : null }
}

export const newestFirst = ({ created_at, id }: { created_at: number; id: string }): string => `${created_at}.${id}`
