import { isIPv6 } from 'node:net'
import { begun, GUESSING_RULES, nextTryAt, type GuessingKind } from '@swarm/core/accounts/guessing.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Secret } from '@swarm/core/secret.ts'
import { forUpdate } from '../../db/dialect.ts'
import type { Trx } from '../../db/unit.ts'
import { keyed } from './secret.ts'

export interface GuessSubject { readonly kind: GuessingKind; readonly subject: string }

/** The subjects of a try, as they are stored: keyed hashes, so that the table names nobody. */
export function guessSubject(secret: Secret, kind: GuessingKind, text: string): GuessSubject {
  return { kind, subject: keyed(secret, `guess ${kind}`, kind === 'address' ? network(text) : text) }
}

/** Who has one IPv6 address has 2^64 of them. */
function network(address: string): string {
  if (!isIPv6(address) || address.startsWith('::ffff:')) return address
  const [head = '', tail] = address.split('::')
  const front = head === '' ? [] : head.split(':')
  const back = tail === undefined || tail === '' ? [] : tail.split(':')
  const groups = tail === undefined ? front : [...front, ...Array<string>(Math.max(0, 8 - front.length - back.length)).fill('0'), ...back]
  return `${groups.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16)).join(':')}::/64`
}

/**
 * Begins a try: it counts as failed until `succeeded` takes that back. In one unit, so that tries at the same time see each other.
 * @throws DomainError `too_many_tries` with retryAfterSeconds, before anything was counted
 */
export async function beginTry(trx: Trx, subjects: readonly GuessSubject[], now: number): Promise<void> {
  const next: { about: GuessSubject; guesses: { failures: number; lastAt: number } }[] = []
  for (const about of subjects) {
    await trx.insertInto('guesses').values({ ...about, failures: 0, last_at: now }).onConflict((conflict) => conflict.columns(['kind', 'subject']).doNothing()).execute()
    const row = await forUpdate(trx, trx.selectFrom('guesses').select(['failures', 'last_at']).where('kind', '=', about.kind).where('subject', '=', about.subject)).executeTakeFirstOrThrow()
    const guesses = { failures: row.failures, lastAt: row.last_at }
    const at = nextTryAt(GUESSING_RULES[about.kind], guesses, now)
    if (at > now) throw new DomainError('too_many_tries', { retryAfterSeconds: Math.ceil((at - now) / 1000) })
    next.push({ about, guesses: begun(GUESSING_RULES[about.kind], guesses, now) })
  }
  for (const { about, guesses } of next) await trx.updateTable('guesses').set({ failures: guesses.failures, last_at: guesses.lastAt }).where('kind', '=', about.kind).where('subject', '=', about.subject).execute()
}

/** The try was right: the account begins anew; of the address only this try is forgotten, or a guesser's own account would clear it. */
export async function succeeded(trx: Trx, subjects: readonly GuessSubject[]): Promise<void> {
  for (const { kind, subject } of subjects) {
    await trx.updateTable('guesses').set((eb) => ({ failures: kind === 'account' ? 0 : eb('failures', '-', 1) }))
      .where('kind', '=', kind).where('subject', '=', subject).where('failures', '>', 0).execute()
  }
}
