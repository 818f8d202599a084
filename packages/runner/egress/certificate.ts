import { createHash, createPublicKey, randomBytes, sign, type KeyObject } from 'node:crypto'

/*
 * X.509 certificates (RFC 5280) in DER: exactly the two shapes that the egress proxy needs, a self-signed authority and a server's
 * certificate of one name, both of ECDSA P-256 with SHA-256. Written out here since what signs a certificate must be small enough to read.
 */

const OID = {
  ecdsaWithSha256: '2a8648ce3d040302', commonName: '550403', organization: '55040a',
  subjectKeyIdentifier: '551d0e', keyUsage: '551d0f', subjectAltName: '551d11', basicConstraints: '551d13', authorityKeyIdentifier: '551d23', extendedKeyUsage: '551d25',
  serverAuth: '2b06010505070301',
} as const

export interface Validity { readonly notBeforeMs: number; readonly notAfterMs: number }
/** An authority: its name, and the key that it signs with. */
export interface Issuer { readonly commonName: string; readonly key: KeyObject }

/** A certificate of an authority that may sign servers' certificates and no further authorities. @returns PEM */
export function authorityCertificate(issuer: Issuer, validity: Validity): string {
  const publicKey = createPublicKey(issuer.key)
  return certificate(issuer, name(issuer.commonName), publicKey, validity, [
    extension(OID.basicConstraints, sequence(boolean(true), integer(Buffer.from([0]))), true),
    // keyCertSign and cRLSign: bits 5 and 6.
    extension(OID.keyUsage, tagged(0x03, Buffer.from([1, 0x06])), true),
    extension(OID.subjectKeyIdentifier, octets(keyIdentifier(publicKey))),
  ])
}

/** A certificate of a server with this one name. @returns PEM */
export function serverCertificate(issuer: Issuer, host: string, publicKey: KeyObject, validity: Validity): string {
  // A common name holds 64 characters at most, and nobody reads it beside the alternative name.
  return certificate(issuer, name(host.length <= 64 ? host : 'Swarm egress'), publicKey, validity, [
    extension(OID.basicConstraints, sequence(), true),
    // digitalSignature: bit 0.
    extension(OID.keyUsage, tagged(0x03, Buffer.from([7, 0x80])), true),
    extension(OID.extendedKeyUsage, sequence(oid(OID.serverAuth))),
    extension(OID.subjectAltName, sequence(tagged(0x82, Buffer.from(host, 'ascii')))),
    extension(OID.subjectKeyIdentifier, octets(keyIdentifier(publicKey))),
    extension(OID.authorityKeyIdentifier, sequence(tagged(0x80, keyIdentifier(createPublicKey(issuer.key))))),
  ])
}

function certificate(issuer: Issuer, subject: Buffer, publicKey: KeyObject, validity: Validity, extensions: readonly Buffer[]): string {
  const algorithm = sequence(oid(OID.ecdsaWithSha256))
  const body = sequence(
    tagged(0xa0, integer(Buffer.from([2]))), // version 3
    integer(serialNumber()), algorithm, name(issuer.commonName), sequence(time(validity.notBeforeMs), time(validity.notAfterMs)), subject,
    publicKey.export({ type: 'spki', format: 'der' }), tagged(0xa3, sequence(...extensions)),
  )
  const signature = sign('sha256', body, { key: issuer.key, dsaEncoding: 'der' })
  const der = sequence(body, algorithm, tagged(0x03, Buffer.concat([Buffer.from([0]), signature])))
  return `-----BEGIN CERTIFICATE-----\n${(der.toString('base64').match(/.{1,64}/g) ?? []).join('\n')}\n-----END CERTIFICATE-----\n`
}

/** Positive and 16 bytes, so without a leading zero. */
function serialNumber(): Buffer {
  const bytes = randomBytes(16)
  bytes[0] = (bytes[0]! & 0x3f) | 0x40
  return bytes
}

const keyIdentifier = (publicKey: KeyObject): Buffer => createHash('sha1').update(publicKey.export({ type: 'spki', format: 'der' })).digest()

function name(commonName: string): Buffer {
  const part = (type: string, text: string): Buffer => tagged(0x31, sequence(oid(type), tagged(0x0c, Buffer.from(text))))
  return sequence(part(OID.organization, 'Swarm'), part(OID.commonName, commonName))
}

function extension(type: string, value: Buffer, critical = false): Buffer {
  return sequence(oid(type), ...(critical ? [boolean(true)] : []), octets(value))
}

/** Two digits of the year until 2049, four from then on, as the standard wants it. */
function time(ms: number): Buffer {
  const text = new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, '')
  return text < '2050' ? tagged(0x17, Buffer.from(text.slice(2))) : tagged(0x18, Buffer.from(text))
}

const sequence = (...parts: readonly Buffer[]): Buffer => tagged(0x30, Buffer.concat(parts))
const integer = (bytes: Buffer): Buffer => tagged(0x02, bytes)
const octets = (bytes: Buffer): Buffer => tagged(0x04, bytes)
const oid = (hex: string): Buffer => tagged(0x06, Buffer.from(hex, 'hex'))
const boolean = (value: boolean): Buffer => tagged(0x01, Buffer.from([value ? 0xff : 0]))

function tagged(tag: number, content: Buffer): Buffer {
  const { length } = content
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}
