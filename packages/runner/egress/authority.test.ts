import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createAuthorityHolder } from './authority.ts'
import { authorityCertificate, serverCertificate } from './certificate.ts'

const DAY_MS = 86_400_000
let folder: string
beforeEach(() => { folder = mkdtempSync(join(tmpdir(), 'swarm-authority-')) })
afterEach(() => { rmSync(folder, { recursive: true, force: true }) })

test('the authority is made once, for its owner alone to read, stays over a restart and is made anew a month before its end', async () => {
  const file = join(folder, 'egress', 'authority.pem')
  let now = Date.now()
  const holder = createAuthorityHolder(file, () => now)
  const { certificate } = await holder()
  expect(statSync(file).mode & 0o777).toBe(0o600)
  expect(createPrivateKey(readFileSync(file, 'utf8')).asymmetricKeyType).toBe('ec')
  const about = new X509Certificate(certificate)
  expect([about.ca, about.verify(about.publicKey), certificate.includes('PRIVATE')]).toEqual([true, true, false])
  const restarted = createAuthorityHolder(file, () => now)
  expect((await restarted()).certificate).toBe(certificate)
  expect(restarted()).toBe(restarted())
  now += 334 * DAY_MS
  expect((await restarted()).certificate).toBe(certificate)
  now += 2 * DAY_MS
  const next = await restarted()
  expect(next.certificate).not.toBe(certificate)
  expect((await createAuthorityHolder(file, () => now)()).certificate).toBe(next.certificate)
})

test('the certificate of a host is for that host alone, checks under the authority, and is one of a server', () => {
  const issuer = { commonName: 'Test', key: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey }
  const validity = { notBeforeMs: Date.parse('2026-03-01T10:20:30Z'), notAfterMs: Date.parse('2051-12-31T23:59:59Z') }
  const authority = new X509Certificate(authorityCertificate(issuer, validity))
  for (const host of ['api.example.com', `${'a'.repeat(60)}.${'b'.repeat(60)}.example.com`]) {
    const server = new X509Certificate(serverCertificate(issuer, host, generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey, validity))
    expect([server.verify(authority.publicKey), server.checkIssued(authority), server.ca]).toEqual([true, true, false])
    expect(server.checkHost(host)).toBe(host)
    expect([server.checkHost('example.com'), server.checkHost(`x.${host}`)]).toEqual([undefined, undefined])
    expect([Date.parse(server.validFrom), Date.parse(server.validTo)]).toEqual([validity.notBeforeMs, validity.notAfterMs])
  }
})
