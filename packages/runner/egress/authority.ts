import { createPrivateKey, generateKeyPairSync, randomBytes, X509Certificate, type KeyObject } from 'node:crypto'
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { createSecureContext, type SecureContext } from 'node:tls'
import { authorityCertificate, serverCertificate, type Issuer } from './certificate.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const AUTHORITY_MS = 365 * DAY_MS
/** What is left of an authority when a new one is made: longer than any work lasts. */
const AUTHORITY_LEFT_MS = 30 * DAY_MS
const SERVER_MS = DAY_MS
/** Clocks of guests are set by the host, and may be a little behind it. */
const BACKDATED_MS = HOUR_MS

/** Who ends TLS for hosts that get secrets. Its key is on this host and nowhere else. */
export interface Authority {
  /** PEM, for the guests whose traffic it ends. */
  readonly certificate: string
  /** Key and certificate of a host, made when it is first asked for and kept in memory for a day at most. */
  contextOf(host: string): SecureContext
}

/** The authority of this host, made when work first needs it, and made anew before it expires. */
export function createAuthorityHolder(file: string, now: () => number = Date.now): () => Promise<Authority> {
  let held: { authority: Promise<Authority>; untilMs: number } | null = null
  return () => {
    if (held !== null && now() < held.untilMs) return held.authority
    const current = { authority: openAuthority(file, now), untilMs: now() + DAY_MS }
    current.authority.catch(() => { if (held === current) held = null })
    held = current
    return current.authority
  }
}

/**
 * Reads key and certificate from one file (PEM, 0600), or makes them. One file, so that never one is there without the other; two
 * processes that make it at once: what the file ends up with is what the next one reads, and each goes on with its own, which only
 * its own guests trust.
 */
async function openAuthority(file: string, now: () => number): Promise<Authority> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
  const [pem] = /-----BEGIN CERTIFICATE-----[^]+?-----END CERTIFICATE-----\n/.exec(text) ?? []
  const certificate = pem === undefined ? null : new X509Certificate(pem)
  if (pem !== undefined && certificate !== null && Date.parse(certificate.validTo) - now() > AUTHORITY_LEFT_MS) {
    const commonName = /^CN=(.*)$/m.exec(certificate.subject)?.[1] ?? ''
    return authorityOf({ commonName, key: createPrivateKey(text) }, pem, now)
  }
  const issuer: Issuer = { commonName: `Swarm egress ${randomBytes(4).toString('hex')}`, key: newKey() }
  const made = authorityCertificate(issuer, { notBeforeMs: now() - BACKDATED_MS, notAfterMs: now() + AUTHORITY_MS })
  await replaceFile(file, `${issuer.key.export({ type: 'pkcs8', format: 'pem' }).toString()}${made}`)
  return authorityOf(issuer, made, now)
}

function authorityOf(issuer: Issuer, certificate: string, now: () => number): Authority {
  const contexts = new Map<string, { context: SecureContext; untilMs: number }>()
  return {
    certificate,
    contextOf(host) {
      const known = contexts.get(host)
      if (known !== undefined && now() < known.untilMs) return known.context
      const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      const cert = serverCertificate(issuer, host, publicKey, { notBeforeMs: now() - BACKDATED_MS, notAfterMs: now() + SERVER_MS })
      const context = createSecureContext({ key: privateKey.export({ type: 'pkcs8', format: 'pem' }), cert, minVersion: 'TLSv1.2' })
      contexts.set(host, { context, untilMs: now() + SERVER_MS / 2 })
      return context
    },
  }
}

const newKey = (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey

async function replaceFile(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  const temporary = `${file}.${randomBytes(6).toString('hex')}.new`
  try {
    const handle = await open(temporary, 'wx', 0o600)
    try {
      await handle.writeFile(text)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, file)
  } finally {
    await rm(temporary, { force: true })
  }
}
