import { createHmac } from 'node:crypto'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { createClient, type Client } from '@swarm/contract/client.ts'
import { redeemInvitation, signIn } from '@swarm/contract/endpoints/accounts.ts'
import { invite } from '@swarm/contract/endpoints/organizations.ts'
import PostalMime from 'postal-mime'
import { expect } from 'vitest'
import type { TestServer } from '../../testing.ts'

export const PASSWORD = 'correct horse battery'

/** A browser: it keeps cookies, and says with each request that it comes from a page of the server. */
export interface Browser extends Client {
  readonly cookies: Map<string, string>
  fetch(path: string, init?: RequestInit): Promise<Response>
}

export function browser(url: string, headers: Record<string, string> = { 'sec-fetch-site': 'same-origin' }): Browser {
  const cookies = new Map<string, string>()
  const send: typeof fetch = async (input, init) => {
    const sent = new Headers(init?.headers)
    for (const [name, value] of Object.entries(headers)) sent.set(name, value)
    if (cookies.size > 0) sent.set('cookie', [...cookies].map(([name, value]) => `${name}=${value}`).join('; '))
    const response = await fetch(input, { ...init, headers: sent, redirect: 'manual' })
    for (const line of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      if (value === '' || /Max-Age=0/i.test(line)) cookies.delete(name)
      else cookies.set(name, value)
    }
    return response
  }
  return { ...createClient({ baseUrl: url, fetch: send }), cookies, fetch: (path, init) => send(new URL(path, url), init) }
}

/** The token of the link that the first account is made with. */
export function setupToken(home: string): string {
  return /#token=(\S+)/.exec(readFileSync(join(home, 'setup-link'), 'utf8'))?.[1] ?? ''
}

/** A browser of the first super_admin. */
export async function firstAdmin(server: TestServer, email = 'first@example.org'): Promise<Browser> {
  const made = browser(server.url)
  await made.call(redeemInvitation, { body: { token: setupToken(server.context.config.home), name: 'First', email, password: PASSWORD } })
  return made
}

/** The mail of this kind in the outbox that was sent to an address, once it is there. */
export async function mailTo(home: string, to: string, subject: RegExp): Promise<{ text: string; token: string; messageId: string }> {
  let found: { text: string; token: string; messageId: string } | undefined
  await expect.poll(async () => {
    const names = readdirSync(home).includes('outbox') ? readdirSync(join(home, 'outbox')).filter((name) => name.endsWith('.eml')) : []
    for (const name of names) {
      const mail = await PostalMime.parse(readFileSync(join(home, 'outbox', name)))
      if (mail.to?.[0]?.address === to && subject.test(mail.subject ?? '')) found = { text: mail.text ?? '', token: /#token=(\S+)/.exec(mail.text ?? '')?.[1] ?? '', messageId: mail.messageId ?? '' }
    }
    return found
  }).toBeDefined()
  return found!
}

/** A browser of a new member of an organisation, who came by an invitation. */
export async function member(server: TestServer, admin: Client, email: string, role: 'viewer' | 'developer' | 'admin' = 'developer', organizationId = 'default'): Promise<Browser> {
  await admin.call(invite, { params: { organizationId }, body: { email, role } })
  const { token } = await mailTo(server.context.config.home, email, /Invitation/)
  const made = browser(server.url)
  await made.call(redeemInvitation, { body: { token, name: email.split('@')[0] ?? '', password: PASSWORD } })
  return made
}

/** Signs in from another browser. */
export async function signedIn(server: TestServer, email: string, password = PASSWORD): Promise<Browser> {
  const made = browser(server.url)
  await made.call(signIn, { body: { email, password } })
  return made
}

/** What an authenticator app shows for an otpauth:// address (RFC 6238). */
export function totp(uri: string, at = Date.now()): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
  const bits = [...(new URL(uri).searchParams.get('secret') ?? '')].map((digit) => alphabet.indexOf(digit).toString(2).padStart(5, '0')).join('')
  const key = Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)))
  const counter = Buffer.alloc(8)
  counter.writeBigUInt64BE(BigInt(Math.floor(at / 30_000)))
  const mac = createHmac('sha1', key).update(counter).digest()
  return String((mac.readUInt32BE(mac[19]! & 15) & 0x7fffffff) % 1_000_000).padStart(6, '0')
}
