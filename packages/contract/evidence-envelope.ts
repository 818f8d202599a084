import { createHash, createPublicKey, sign, verify, type KeyObject } from 'node:crypto'
import { canonicalJson } from '@swarm/core/approvals/approval.ts'
import { contradictions } from '@swarm/core/evidence/consistency.ts'
import { preAuthenticationEncoding } from '@swarm/core/evidence/dsse.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { z } from 'zod'
import { DsseEnvelope, EvidenceStatement, PAYLOAD_TYPE } from './evidence.ts'

/** A bundle names digests, not contents: some kilobytes a call. What is larger is none of ours. */
export const MAX_BUNDLE_BYTES = 64 * 1024 * 1024

export const sha256 = (content: string | Uint8Array): string => createHash('sha256').update(content).digest('hex')

/** The id of a key: SHA-256 (hex) of the public key as SPKI DER. */
export function keyIdOf(key: KeyObject): string {
  return sha256((key.type === 'private' ? createPublicKey(key) : key).export({ type: 'spki', format: 'der' }))
}

/** @throws DomainError `evidence_key_invalid` for anything but one Ed25519 public key in PEM (a private key is refused: it belongs nowhere near a verifier) */
export function readPublicKey(pem: string, source: string): KeyObject {
  const refuse = (problem: string, cause?: unknown): never => { throw new DomainError('evidence_key_invalid', { source, problem }, { cause }) }
  if (pem.includes('PRIVATE KEY')) refuse('it is a private key')
  let key: KeyObject
  try {
    key = createPublicKey(pem)
  } catch (error) {
    return refuse('it is no public key in PEM', error)
  }
  return key.asymmetricKeyType === 'ed25519' ? key : refuse(`it is of type ${key.asymmetricKeyType ?? 'unknown'}, not ed25519`)
}

/** The bundle as it is kept and exported: canonical JSON and a line end, so that one statement has one file. */
export function sealStatement(statement: EvidenceStatement, key: KeyObject): string {
  const payload = Buffer.from(canonicalJson(EvidenceStatement.parse(statement)))
  const sig = sign(null, preAuthenticationEncoding(PAYLOAD_TYPE, payload), key).toString('base64')
  return writeEnvelope({ payload: payload.toString('base64'), payloadType: PAYLOAD_TYPE, signatures: [{ keyid: keyIdOf(key), sig }] })
}

export function writeEnvelope(envelope: DsseEnvelope): string {
  return `${canonicalJson(envelope)}\n`
}

/**
 * Opens a bundle: its form, its signature by one of `keys` (by key id), the statement and whether that holds together.
 * Stricter than DSSE asks for: one signature, one way to write it, so that every byte of the file counts.
 * @throws DomainError `evidence_invalid` with what is wrong, `evidence_key_unknown` when it is signed by a key that was not given
 */
export function openBundle(bytes: Uint8Array, keys: ReadonlyMap<string, KeyObject>): { statement: EvidenceStatement; keyId: string } {
  const { envelope, signature } = readEnvelope(bytes)
  const key = keys.get(signature.keyid)
  if (!key) throw new DomainError('evidence_key_unknown', { keyId: signature.keyid })
  const payload = fromBase64(envelope.payload, 'payload')
  const sig = fromBase64(signature.sig, 'sig')
  if (keyIdOf(key) !== signature.keyid || !verify(null, preAuthenticationEncoding(envelope.payloadType, payload), key, sig)) throw invalid(`the signature is not one of key ${signature.keyid} over this content`)
  const text = decode(payload, 'the payload')
  const parsed = EvidenceStatement.safeParse(parse(text, 'the payload'))
  if (!parsed.success) throw invalid(`the statement is not of the form that it says: ${firstIssue(parsed.error)}`)
  if (canonicalJson(parsed.data) !== text) throw invalid('the statement is not written canonically')
  const wrong = contradictions(parsed.data, sha256)
  if (wrong.length > 0) throw invalid(`it contradicts itself: ${wrong.join('; ')}`)
  return { statement: parsed.data, keyId: signature.keyid }
}

/** The envelope alone, for finding out which key it names. @throws DomainError `evidence_invalid` */
export function readEnvelope(bytes: Uint8Array): { envelope: DsseEnvelope; signature: DsseEnvelope['signatures'][number] } {
  if (bytes.length > MAX_BUNDLE_BYTES) throw invalid(`it has ${bytes.length} bytes; no bundle has more than ${MAX_BUNDLE_BYTES}`)
  const text = decode(bytes, 'it')
  const parsed = DsseEnvelope.safeParse(parse(text, 'it'))
  if (!parsed.success) throw invalid(`it is no DSSE envelope: ${firstIssue(parsed.error)}`)
  const envelope = parsed.data
  if (envelope.payloadType !== PAYLOAD_TYPE) throw invalid(`its payload is of type ${envelope.payloadType.slice(0, 100)}, not ${PAYLOAD_TYPE}`)
  const [signature, ...more] = envelope.signatures
  if (!signature || more.length > 0) throw invalid(`it has ${envelope.signatures.length} signatures; a bundle has exactly one`)
  if (writeEnvelope(envelope) !== text) throw invalid('it is not written as it was exported (canonical JSON and one line end)')
  return { envelope, signature }
}

function fromBase64(text: string, field: string): Buffer {
  const bytes = Buffer.from(text, 'base64')
  if (bytes.toString('base64') !== text) throw invalid(`${field} is no base64`)
  return bytes
}

function decode(bytes: Uint8Array, what: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw invalid(`${what} is no UTF-8`)
  }
}

function parse(text: string, what: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw invalid(`${what} is no JSON (cut short, or another file)`)
  }
}

function firstIssue(error: z.ZodError): string {
  const issue = error.issues[0]
  return `${issue?.path.join('.') || 'the whole'}: ${issue?.message ?? 'not valid'}`
}

function invalid(problem: string): DomainError {
  return new DomainError('evidence_invalid', { problem })
}
