import { argon2, randomBytes, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'

/*
 * Passwords are kept as argon2id in the PHC string format, with the parameters that OWASP's cheat sheet asks for (19 MiB, 2 passes,
 * 1 lane). It runs in libuv's threads; decision 0019 has what it costs.
 */

const derive = promisify(argon2)
const MEMORY_KIB = 19_456
const PASSES = 2
const LANES = 1
const TAG_BYTES = 32
const HASH = /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,2})\$([A-Za-z0-9+/]{22,86})\$([A-Za-z0-9+/]{43})$/

const base64 = (bytes: Buffer): string => bytes.toString('base64').replace(/=+$/, '')
const message = (password: string): Buffer => Buffer.from(password.normalize('NFKC'), 'utf8')

export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16)
  const tag = await derive('argon2id', { message: message(password), nonce: salt, parallelism: LANES, tagLength: TAG_BYTES, memory: MEMORY_KIB, passes: PASSES })
  return `$argon2id$v=19$m=${MEMORY_KIB},t=${PASSES},p=${LANES}$${base64(salt)}$${base64(tag)}`
}

/** Whether it is the password of this hash, which may have other parameters than new ones get. */
export async function verifyPassword(hash: string, password: string): Promise<boolean> {
  const [, memory, passes, lanes, salt = '', tag = ''] = HASH.exec(hash) ?? []
  if (memory === undefined) return false
  const expected = Buffer.from(tag, 'base64')
  const found = await derive('argon2id', { message: message(password), nonce: Buffer.from(salt, 'base64'), parallelism: Number(lanes), tagLength: expected.length, memory: Number(memory), passes: Number(passes) })
  return timingSafeEqual(found, expected)
}
