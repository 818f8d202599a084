/** Media type of an in-toto Statement in a DSSE envelope (in-toto attestation framework v1, "Envelope"). */
export const PAYLOAD_TYPE = 'application/vnd.in-toto+json'
/** `_type` of an in-toto Statement of version 1. */
export const STATEMENT_TYPE = 'https://in-toto.io/Statement/v1'
/** What our predicate means; docs/evidence.md describes it. A change that old readers would misread gets a new number. */
export const PREDICATE_TYPE = 'https://swarm.internal/evidence/change/v1'

/** The bytes that are signed: PAE of DSSE 1.0, so that a signature covers the type of the payload too. Lengths are in bytes. */
export function preAuthenticationEncoding(payloadType: string, payload: Uint8Array): Uint8Array {
  const type = new TextEncoder().encode(payloadType)
  const head = new TextEncoder().encode(`DSSEv1 ${type.length} ${payloadType} ${payload.length} `)
  const whole = new Uint8Array(head.length + payload.length)
  whole.set(head)
  whole.set(payload, head.length)
  return whole
}
