import { randomBytes } from 'node:crypto'
import { makeId, type IdKind } from '@swarm/core/ids.ts'

/** A new id such as `TKT-7Q2M9XKD`. */
export function newId(kind: IdKind): string {
  return makeId(kind, randomBytes(8))
}
