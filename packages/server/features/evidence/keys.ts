import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { chmod, mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { keyIdOf } from '@swarm/contract/evidence-envelope.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Database } from '../../db/database.ts'
import { createFile, readIfThere } from '../../files.ts'
import { addKey, evidenceKeys } from './queries.ts'

/** The private key that signs evidence, and its id. It prints as nothing: a KeyObject shows no material. */
export interface SigningKey { readonly key: KeyObject; readonly id: string }

/**
 * The signing key of this home: `<home>/keys/evidence.ed25519` (PKCS#8 PEM, 0600), made at the first start. Its public half is
 * kept for good in the database and as `<home>/keys/evidence/<id>.pem`, with all earlier ones: to change the key, stop the
 * server, move the private key away and start again; what the old one signed still verifies.
 * @throws DomainError `evidence_key_invalid` when the file holds something else
 */
export async function ensureSigningKey(db: Database, home: string, now: number): Promise<SigningKey> {
  const path = join(home, 'keys', 'evidence.ed25519')
  await mkdir(join(home, 'keys', 'evidence'), { recursive: true, mode: 0o700 })
  let pem = await readIfThere(path)
  if (pem === null) {
    await createFile(path, generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), 0o600)
    // Another process may have been first: what is in the file counts.
    pem = await readFile(path, 'utf8')
  }
  await chmod(path, 0o600)
  const key = parse(pem, path)
  const id = keyIdOf(key)
  const publicKey = createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString()
  await db.write((trx) => addKey(trx, { id, public_key: publicKey, created_at: now }))
  for (const row of await evidenceKeys(db.read)) await createFile(join(home, 'keys', 'evidence', `${row.id}.pem`), row.public_key, 0o644)
  return { key, id }
}

function parse(pem: string, source: string): KeyObject {
  let key: KeyObject
  try {
    key = createPrivateKey(pem)
  } catch (error) {
    // The cause may quote the file.
    throw new DomainError('evidence_key_invalid', { source, problem: `it is no private key in PEM (${error instanceof Error && 'code' in error ? String(error.code) : 'unreadable'})` })
  }
  if (key.asymmetricKeyType !== 'ed25519') throw new DomainError('evidence_key_invalid', { source, problem: `it is of type ${key.asymmetricKeyType ?? 'unknown'}, not ed25519` })
  return key
}
