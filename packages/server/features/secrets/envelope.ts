import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto'
import { Secret } from '@swarm/core/secret.ts'

/*
 * A secret is sealed under a key of its own, and that key under a key of the installation, so that changing the latter rewrites
 * 60 bytes a secret and no value. Both by AES-256-GCM, and bound to what they are of: a row that was moved or an earlier version
 * that was put back does not open. Text form of both: base64 of nonce (12) | ciphertext | tag (16).
 */

const NONCE_BYTES = 12
const TAG_BYTES = 16
export const KEY_BYTES = 32

/** What a sealed value is of: part of what is authenticated. */
export interface About { readonly id: string; readonly scope: string; readonly version: number }

export interface Envelope { readonly sealed: string; readonly wrappedKey: string; readonly keyId: string }

/** A key of the installation. Its id says nothing about it but which one it is. */
export interface WrappingKey { readonly id: string; readonly bytes: Uint8Array }

export function wrappingKey(bytes: Uint8Array): WrappingKey {
  return { id: createHash('sha256').update('swarm secrets key\0').update(bytes).digest('hex').slice(0, 16), bytes }
}

/** Seals a value under a new key of its own. */
export function seal(value: Secret, about: About, key: WrappingKey): Envelope {
  const own = randomBytes(KEY_BYTES)
  try {
    return { sealed: encrypt(Buffer.from(value.reveal()), own, bound('value', about)), ...wrap(own, about, key) }
  } finally {
    own.fill(0)
  }
}

/** @throws Error when anything of it is not what was sealed */
export function open(envelope: Envelope, about: About, key: WrappingKey): Secret {
  const own = decrypt(envelope.wrappedKey, key.bytes, bound(`key ${key.id}`, about))
  try {
    return new Secret(decrypt(envelope.sealed, own, bound('value', about)).toString())
  } finally {
    own.fill(0)
  }
}

/** The same secret under another key of the installation. @throws Error as `open` */
export function rewrap(envelope: Envelope, about: About, from: WrappingKey, to: WrappingKey): Envelope {
  const own = decrypt(envelope.wrappedKey, from.bytes, bound(`key ${from.id}`, about))
  try {
    return { sealed: envelope.sealed, ...wrap(own, about, to) }
  } finally {
    own.fill(0)
  }
}

function wrap(own: Uint8Array, about: About, key: WrappingKey): Pick<Envelope, 'wrappedKey' | 'keyId'> {
  return { wrappedKey: encrypt(own, key.bytes, bound(`key ${key.id}`, about)), keyId: key.id }
}

const bound = (what: string, { id, scope, version }: About): Buffer => Buffer.from(JSON.stringify(['swarm secret 1', what, id, scope, version]))

function encrypt(plain: Uint8Array, key: Uint8Array, about: Uint8Array): string {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES }).setAAD(about)
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]).toString('base64')
}

function decrypt(text: string, key: Uint8Array, about: Uint8Array): Buffer {
  const bytes = Buffer.from(text, 'base64')
  if (bytes.length < NONCE_BYTES + TAG_BYTES) throw new Error('it is too short')
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES }).setAAD(about).setAuthTag(bytes.subarray(-TAG_BYTES))
  return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()])
}
