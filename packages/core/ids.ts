/** Crockford's base32 alphabet: no I, L, O, U (https://www.crockford.com/base32.html). */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

/** Prefix of each kind of id; ids look like `TKT-7Q2M9XKD`. */
export const ID_PREFIXES = {
  project: 'PRJ', repository: 'REP', session: 'SES', ticket: 'TKT', attempt: 'ATT', runner: 'RUN', vm: 'VM', agent: 'AGT',
  approval: 'APR', question: 'QST', change: 'CHG', check: 'CHK', call: 'CAL', token: 'TOK', batch: 'BAT', replay: 'RPL', operation: 'OPN',
  user: 'USR', organization: 'ORG', invitation: 'INV', login: 'LGN', mail: 'MAI', secret: 'SEC', comment: 'CMT', review: 'RVW', notification: 'NTF', view: 'VIW', audit: 'AUD',
} as const

export type IdKind = keyof typeof ID_PREFIXES

/**
 * Makes an id from random bytes that the caller supplies (core has no randomness of its own).
 * @param random at least 8 bytes; one base32 digit is taken from each of the first 8 (40 bits).
 */
export function makeId(kind: IdKind, random: Uint8Array): string {
  if (random.length < 8) throw new RangeError('makeId needs 8 random bytes')
  let digits = ''
  for (const byte of random.subarray(0, 8)) digits += ALPHABET[byte & 31]
  return `${ID_PREFIXES[kind]}-${digits}`
}
