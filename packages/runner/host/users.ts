import { randomInt } from 'node:crypto'
import { readdirSync, statSync } from 'node:fs'
import { DomainError } from '@swarm/core/errors.ts'

/** Ids that no account has, one for each microVM, user and group alike: systemd lists 1,879,048,192 to 2,147,352,575 as unused (systemd.io/UIDS-GIDS). */
export interface UidRange { first: number; count: number }

export const DEFAULT_UIDS: UidRange = { first: 1_900_000_000, count: 1_000 }

const reserved = new Set<number>()

/**
 * A user that no process of this host runs as, for one microVM. Begins at a random one, so that two runners that look at the
 * same moment do not meet.
 * @throws DomainError vm_start_failed when all are taken
 */
export function takeUser({ first, count }: UidRange): Disposable & { uid: number } {
  const taken = new Set(readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map((name) => statSync(`/proc/${name}`, { throwIfNoEntry: false })?.uid))
  const begin = randomInt(count)
  for (let offset = 0; offset < count; offset++) {
    const uid = first + (begin + offset) % count
    if (reserved.has(uid) || taken.has(uid)) continue
    reserved.add(uid)
    let held = true
    return {
      uid,
      [Symbol.dispose]() {
        if (held) reserved.delete(uid)
        held = false
      },
    }
  }
  throw new DomainError('vm_start_failed', { problem: `all ${count} users for microVMs are taken (vm.uidFirst, vm.uidCount)` })
}
