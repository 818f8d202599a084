import { createKey, listKeys, revokeKey, rotateKey } from '@swarm/contract/endpoints/api-keys.ts'
import { acceptInvitation, changePassword, confirmTwoFactor, decideDevice, DEVICE_CLIENT, disableTwoFactor, enableTwoFactor, listUsers, redeemDeviceCode, redeemInvitation, register, renewBackupCodes, requestDeviceCode, showDevice, showInvitation, showMe, signIn, signInTwoFactor } from '@swarm/contract/endpoints/accounts.ts'
import { createOrganization, invite, listInvitations, listMembers, listOrganizations, removeMember, revokeInvitation, setMember, showOrganization } from '@swarm/contract/endpoints/organizations.ts'
import { createProject, listProjects } from '@swarm/contract/endpoints/projects.ts'
import { expect, test } from 'vitest'
import { sqlitePlace } from '../../db/testing.ts'
import { startTestServer, type TestServer } from '../../testing.ts'
import { startGithub, type Github } from './testing-github.ts'
import { browser, firstAdmin, mailTo, member, PASSWORD, signedIn, totp, type Browser } from './testing.ts'

test('a second factor is asked for once it was confirmed; codes and backup codes open, a backup code once, and the password alone does not', async () => {
  await using place = await sqlitePlace()
  await using server = await startTestServer(place)
  const admin = await firstAdmin(server)
  await expect(admin.call(enableTwoFactor, { body: { password: 'wrong' } })).rejects.toMatchObject({ status: 403, code: 'password_wrong' })
  const { totpUri, backupCodes } = await admin.call(enableTwoFactor, { body: { password: PASSWORD } })
  // Not confirmed yet: nobody is locked out by a code that was never scanned.
  expect(await browser(server.url).call(signIn, { body: { email: 'first@example.org', password: PASSWORD } })).toEqual({ next: 'signed_in' })
  await expect(admin.call(confirmTwoFactor, { body: { code: '000000' } })).rejects.toMatchObject({ status: 401, code: 'code_invalid' })
  await admin.call(confirmTwoFactor, { body: { code: totp(totpUri) } })
  expect(await admin.call(showMe)).toMatchObject({ twoFactor: true })

  const other = browser(server.url)
  expect(await other.call(signIn, { body: { email: 'first@example.org', password: PASSWORD } })).toEqual({ next: 'second_factor' })
  await expect(other.call(showMe)).rejects.toMatchObject({ status: 401 })
  await expect(other.call(signInTwoFactor, { body: { code: '000000' } })).rejects.toMatchObject({ status: 401, code: 'code_invalid' })
  await other.call(signInTwoFactor, { body: { code: totp(totpUri) } })
  expect(await other.call(showMe)).toMatchObject({ email: 'first@example.org' })

  const third = await signedIn(server, 'first@example.org')
  await third.call(signInTwoFactor, { body: { backupCode: backupCodes[0]! } })
  const fourth = await signedIn(server, 'first@example.org')
  await expect(fourth.call(signInTwoFactor, { body: { backupCode: backupCodes[0]! } })).rejects.toMatchObject({ code: 'code_invalid' })
  const renewed = await third.call(renewBackupCodes, { body: { password: PASSWORD } })
  await expect(fourth.call(signInTwoFactor, { body: { backupCode: backupCodes[1]! } })).rejects.toMatchObject({ code: 'code_invalid' })
  await fourth.call(signInTwoFactor, { body: { backupCode: renewed.backupCodes[1]! } })

  const stored = JSON.stringify([await server.context.db.read.selectFrom('two_factors').selectAll().execute(), server.log])
  for (const secret of [new URL(totpUri).searchParams.get('secret')!, ...renewed.backupCodes]) expect(stored).not.toContain(secret)
  await fourth.call(disableTwoFactor, { body: { password: PASSWORD } })
  expect(await browser(server.url).call(signIn, { body: { email: 'first@example.org', password: PASSWORD } })).toEqual({ next: 'signed_in' })
  await expect(browser(server.url).call(signInTwoFactor, { body: { code: '123456' } })).rejects.toMatchObject({ status: 401, code: 'code_invalid' })
})

test('a challenge for a second factor takes five codes, however many are tried', async () => {
  await using place = await sqlitePlace()
  await using server = await startTestServer(place)
  const admin = await firstAdmin(server)
  const { totpUri } = await admin.call(enableTwoFactor, { body: { password: PASSWORD } })
  await admin.call(confirmTwoFactor, { body: { code: totp(totpUri) } })
  const guesser = await signedIn(server, 'first@example.org')
  for (let n = 0; n < 6; n += 1) await guesser.call(signInTwoFactor, { body: { code: '000000' } }).catch(() => undefined)
  await expect(guesser.call(signInTwoFactor, { body: { code: totp(totpUri) } })).rejects.toMatchObject({ code: 'code_invalid' })
})

/** Follows a browser to GitHub and back. @returns where it ends up on this server */
async function throughGithub(someone: Browser, change: (back: URL) => void = () => undefined): Promise<string> {
  const out = await someone.fetch('/api/auth/github?returnTo=/projects')
  const github = await fetch(out.headers.get('location') ?? '', { redirect: 'manual' })
  const back = new URL(github.headers.get('location') ?? '')
  change(back)
  return (await someone.fetch(`${back.pathname}${back.search}`)).headers.get('location') ?? ''
}
const githubSettings = (github: Github) => ({ 'accounts.github.clientId': github.clientId, 'accounts.github.clientSecret': github.clientSecret, 'accounts.github.baseUrl': github.url })

test('GitHub signs in who has an account with the address that it verified, and who is invited; nobody else, and nobody without state', async () => {
  await using place = await sqlitePlace()
  await using github = await startGithub()
  await using server = await startTestServer(place, { settings: githubSettings(github) })
  const admin = await firstAdmin(server, 'octo@example.org')
  const someone = browser(server.url, {})
  expect(await throughGithub(someone)).toBe(`${server.url}/projects`)
  expect(await someone.call(showMe)).toMatchObject({ email: 'octo@example.org', github: true, superAdmin: true })

  github.user = { id: 8, login: 'stranger', name: null, emails: [{ email: 'stranger@example.org', primary: true, verified: true }] }
  const stranger = browser(server.url, {})
  expect(await throughGithub(stranger)).toMatch(/\/sign-in\?error=/)
  await expect(stranger.call(showMe)).rejects.toMatchObject({ status: 401 })
  expect((await admin.call(listUsers)).items).toHaveLength(1)

  await admin.call(invite, { params: { organizationId: 'default' }, body: { email: 'stranger@example.org', role: 'viewer' } })
  expect(await throughGithub(stranger)).toBe(`${server.url}/projects`)
  expect(await stranger.call(showMe)).toMatchObject({ email: 'stranger@example.org', name: 'stranger', hasPassword: false, memberships: [{ role: 'viewer' }] })

  // Another one's address that GitHub has not verified is nobody's.
  github.user = { id: 9, login: 'thief', name: null, emails: [{ email: 'octo@example.org', primary: true, verified: false }] }
  expect(await throughGithub(browser(server.url, {}))).toMatch(/\/sign-in\?error=/)
  github.user = { id: 7, login: 'octo', name: 'Octo', emails: [{ email: 'octo@example.org', primary: true, verified: true }] }
  expect(await throughGithub(browser(server.url, {}), (back) => { back.searchParams.set('state', 'x'.repeat(32)) })).toMatch(/error=/)
  // A state that another browser began with is none of this one's: nobody is signed in by somebody else's link.
  const [mine, theirs] = [browser(server.url, {}), browser(server.url, {})]
  let stolen = ''
  await throughGithub(theirs, (back) => { stolen = back.search })
  expect((await mine.fetch(`/api/auth/callback/github${stolen}`)).headers.get('location')).toMatch(/error=/)
  await expect(mine.call(showMe)).rejects.toMatchObject({ status: 401 })
  expect(github.refused).toEqual([])
  expect(JSON.stringify(await server.context.db.read.selectFrom('user_credentials').selectAll().execute())).not.toContain('gho_')
  await expect(browser(server.url).fetch('/api/auth/github?returnTo=//evil.example').then(({ status }) => status)).resolves.toBe(400)
})

test('the command line signs in by a code that a person approves; it waits for the interval, and the code works once', async () => {
  await using place = await sqlitePlace()
  await using server = await startTestServer(place)
  const admin = await firstAdmin(server)
  const stranger = server.as()
  const code = await stranger.call(requestDeviceCode, { body: { clientId: DEVICE_CLIENT } })
  expect(code).toMatchObject({ verificationUri: `${server.url}/device`, intervalMs: 5_000, userCode: expect.stringMatching(/^[A-Z2-9]{8}$/) as string })
  const ask = () => stranger.call(redeemDeviceCode, { body: { clientId: DEVICE_CLIENT, deviceCode: code.deviceCode } })
  const later = () => server.context.db.write((trx) => trx.updateTable('device_codes').set({ last_polled_at: 1 }).execute())
  await expect(ask()).rejects.toMatchObject({ status: 400, code: 'device_pending' })
  await expect(ask()).rejects.toMatchObject({ status: 400, code: 'device_slow_down' })
  expect(await admin.call(showDevice, { query: { userCode: code.userCode } })).toEqual({ userCode: code.userCode, status: 'pending' })
  await expect(admin.call(showDevice, { query: { userCode: 'WRONGONE' } })).rejects.toMatchObject({ status: 410, code: 'device_code_invalid' })
  await admin.call(decideDevice, { body: { userCode: `${code.userCode.slice(0, 4)}-${code.userCode.slice(4)}`.toLowerCase(), decision: 'approved' } })
  await later()
  const answers = await Promise.allSettled([ask(), ask(), ask()])
  const made = answers.flatMap((answer) => answer.status === 'fulfilled' ? [answer.value] : [])
  expect(made).toHaveLength(1)
  expect(await server.as(made[0]!.token).call(showMe)).toMatchObject({ email: 'first@example.org', via: 'session' })
  await expect(ask()).rejects.toMatchObject({ status: 410, code: 'device_code_invalid' })
  const second = await stranger.call(requestDeviceCode, { body: { clientId: DEVICE_CLIENT } })
  await admin.call(decideDevice, { body: { userCode: second.userCode, decision: 'denied' } })
  await expect(stranger.call(redeemDeviceCode, { body: { clientId: DEVICE_CLIENT, deviceCode: second.deviceCode } })).rejects.toMatchObject({ status: 403, code: 'device_denied' })
  expect(JSON.stringify(await server.context.db.read.selectFrom('device_codes').selectAll().execute())).not.toContain(code.deviceCode)
})

test('an API key is shown once, does what its scopes say and nothing about the account, is rotated with an overlap, and ends with its user', async () => {
  await using place = await sqlitePlace()
  await using server = await startTestServer(place)
  const admin = await firstAdmin(server)
  const { token, ...key } = await admin.call(createKey, { body: { name: 'ci', scopes: ['*'], expiresInMs: 3_600_000 } })
  const narrow = await admin.call(createKey, { body: { name: 'reader', scopes: ['ticket:read', 'change:*'] } })
  expect(await admin.call(listKeys, { query: { limit: 1 } })).toMatchObject({ items: [{ name: 'reader' }], nextCursor: expect.any(String) as string })
  expect(JSON.stringify([await server.context.db.read.selectFrom('tokens').selectAll().execute(), server.log])).not.toContain(token)
  expect(await server.as(token).call(showMe)).toMatchObject({ via: 'key', scopes: ['*'] })
  await server.as(token).call(listProjects)
  await expect(server.as(narrow.token).call(listUsers)).rejects.toMatchObject({ status: 403, code: 'forbidden', details: { policies: ['key-scopes'] } })
  await expect(server.as(token).call(createKey, { body: { name: 'more', scopes: ['*'] } })).rejects.toMatchObject({ status: 403, code: 'session_needed' })
  await expect(server.as(token).call(changePassword, { body: { current: PASSWORD, password: 'another long password' } })).rejects.toMatchObject({ code: 'session_needed' })
  await expect(admin.call(createKey, { body: { name: 'bad', scopes: ['everything'] } })).rejects.toMatchObject({ status: 400, details: { field: 'body.scopes.0' } })
  const used = async (): Promise<number | null> => (await admin.call(listKeys)).items.find(({ id }) => id === key.id)?.lastUsedAt ?? null
  const first = await used()
  expect(first).toBeGreaterThan(0)
  await server.as(token).call(showMe)
  expect(await used()).toBe(first)

  const next = await admin.call(rotateKey, { params: { keyId: key.id }, body: { overlapMs: 60_000 } })
  expect(next).toMatchObject({ name: 'ci', scopes: ['*'] })
  await server.as(token).call(showMe)
  await server.as(next.token).call(showMe)
  await expect(admin.call(rotateKey, { params: { keyId: key.id }, body: {} })).rejects.toMatchObject({ status: 409, code: 'key_not_active' })
  const last = await admin.call(rotateKey, { params: { keyId: next.id }, body: { overlapMs: 0 } })
  await expect(server.as(next.token).call(showMe)).rejects.toMatchObject({ status: 401 })
  await admin.call(revokeKey, { params: { keyId: last.id } })
  await expect(server.as(last.token).call(showMe)).rejects.toMatchObject({ status: 401 })
  const other = await member(server, admin, 'dev@example.org')
  await expect(other.call(revokeKey, { params: { keyId: narrow.id } })).rejects.toMatchObject({ status: 404 })
})

test('organisations: their members see them and nobody else, their admins invite, and the last admin stays', async () => {
  await using place = await sqlitePlace()
  await using server = await startTestServer(place)
  const admin = await firstAdmin(server)
  const developer = await member(server, admin, 'dev@example.org')
  const acme = await admin.call(createOrganization, { body: { slug: 'acme', name: 'Acme' } })
  await expect(admin.call(createOrganization, { body: { slug: 'acme' } })).rejects.toMatchObject({ status: 409, code: 'name_taken' })
  await expect(developer.call(createOrganization, { body: { slug: 'mine' } })).rejects.toMatchObject({ status: 403 })
  await expect(developer.call(showOrganization, { params: { organizationId: 'acme' } })).rejects.toMatchObject({ status: 404 })
  expect((await developer.call(listOrganizations)).items.map(({ slug }) => slug)).toEqual(['default'])
  await expect(developer.call(invite, { params: { organizationId: 'default' }, body: { email: 'x@example.org', role: 'admin' } })).rejects.toMatchObject({ status: 403, code: 'forbidden' })
  await expect(developer.call(removeMember, { params: { organizationId: 'default', userId: 'first@example.org' } })).rejects.toMatchObject({ status: 403 })

  // Somebody with an account accepts with it, and only with that of the address.
  await admin.call(invite, { params: { organizationId: acme.id }, body: { email: 'dev@example.org', role: 'admin' } })
  const { token } = await mailTo(place.home, 'dev@example.org', /Invitation to Acme/)
  expect(await server.as().call(showInvitation, { body: { token } })).toMatchObject({ organization: 'Acme', role: 'admin', hasAccount: true })
  await expect(server.as().call(redeemInvitation, { body: { token, name: 'x', password: PASSWORD } })).rejects.toMatchObject({ status: 409, code: 'account_exists' })
  await expect(admin.call(acceptInvitation, { body: { token } })).rejects.toMatchObject({ status: 403, code: 'not_your_invitation' })
  expect(await developer.call(acceptInvitation, { body: { token } })).toMatchObject({ slug: 'acme', role: 'admin' })
  expect((await developer.call(listMembers, { params: { organizationId: 'acme' } })).items.map(({ email, role }) => [email, role])).toEqual([['dev@example.org', 'admin'], ['first@example.org', 'admin']])

  await developer.call(setMember, { params: { organizationId: 'acme', userId: 'first@example.org' }, body: { role: 'viewer' } })
  await expect(developer.call(setMember, { params: { organizationId: 'acme', userId: 'dev@example.org' }, body: { role: 'viewer' } })).rejects.toMatchObject({ status: 409, code: 'last_admin' })
  const open = await developer.call(invite, { params: { organizationId: 'acme' }, body: { email: 'new@example.org', role: 'viewer' } })
  await mailTo(place.home, 'new@example.org', /Invitation/)
  const withdrawn = (await mailTo(place.home, 'new@example.org', /Invitation/)).token
  await developer.call(revokeInvitation, { params: { organizationId: 'acme', invitationId: open.id } })
  await expect(server.as().call(redeemInvitation, { body: { token: withdrawn, name: 'x', password: PASSWORD } })).rejects.toMatchObject({ status: 410, code: 'link_invalid' })
  const accepted = (await developer.call(listInvitations, { params: { organizationId: 'acme' } })).items.find(({ state }) => state === 'accepted')!
  await expect(developer.call(revokeInvitation, { params: { organizationId: 'acme', invitationId: accepted.id } })).rejects.toMatchObject({ status: 410, code: 'link_invalid' })
  expect((await developer.call(listInvitations, { params: { organizationId: 'acme' } })).items.map(({ state }) => state)).toEqual(['revoked', 'accepted'])

  expect(await admin.call(createProject, { body: { slug: 'shop', organizationId: 'acme' } })).toMatchObject({ organizationId: acme.id })
  await expect(admin.call(createProject, { body: { slug: 'none', organizationId: 'nowhere' } })).rejects.toMatchObject({ status: 404 })
})

test('open registration sends a link to whoever asks; who has an account already is told so in the mail alone', async () => {
  await using place = await sqlitePlace()
  await using server: TestServer = await startTestServer(place, { settings: { 'accounts.registration': 'open' } })
  await firstAdmin(server)
  expect(await server.as().call(register, { body: { email: 'new@example.org' } })).toEqual(await server.as().call(register, { body: { email: 'first@example.org' } }))
  const { token } = await mailTo(place.home, 'new@example.org', /Finish/)
  const made = browser(server.url)
  await made.call(redeemInvitation, { body: { token, name: 'New', password: PASSWORD } })
  expect(await made.call(showMe)).toMatchObject({ email: 'new@example.org', memberships: [] })
  expect((await mailTo(place.home, 'first@example.org', /already/)).token).toBe('')
  expect(await made.call(createOrganization, { body: { slug: 'mine' } })).toMatchObject({ slug: 'mine' })
})
