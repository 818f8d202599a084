import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { createKey } from '@swarm/contract/endpoints/api-keys.ts'
import { changePassword, forgotPassword, listLogins, listUsers, redeemInvitation, register, resetPassword, revokeLogin, revokeOtherLogins, showInvitation, showMe, showUser, signIn, signOut, updateMe, updateUser } from '@swarm/contract/endpoints/accounts.ts'
import { createProject, listProjects } from '@swarm/contract/endpoints/projects.ts'
import { createLiveTicket } from '@swarm/contract/endpoints/system.ts'
import { expect, test } from 'vitest'
import { eachDialect, sqlitePlace } from '../../db/testing.ts'
import { startTestServer } from '../../testing.ts'
import { browser, firstAdmin, mailTo, member, PASSWORD, setupToken, signedIn } from './testing.ts'

const codes = async (calls: readonly Promise<unknown>[]): Promise<string[]> =>
  (await Promise.allSettled(calls)).map((outcome) => outcome.status === 'fulfilled' ? 'done' : String((outcome.reason as { code?: string }).code)).sort()

eachDialect((_dialect, make) => {
  test('the first start leaves a link in a 0600 file; of many who use it at once one becomes the super_admin, and then it is closed', async () => {
    await using place = await make()
    await using server = await startTestServer(place)
    const token = setupToken(place.home)
    expect(statSync(join(place.home, 'setup-link')).mode & 0o777).toBe(0o600)
    expect(await server.as().call(showInvitation, { body: { token } })).toMatchObject({ kind: 'setup', email: null })
    const tries = Array.from({ length: 5 }, (_, n) => server.as().call(redeemInvitation, { body: { token, name: 'First', email: `first${n}@example.org`, password: PASSWORD } }))
    expect(await codes(tries)).toEqual(['done', 'link_invalid', 'link_invalid', 'link_invalid', 'link_invalid'])
    const { items } = await server.admin.call(listUsers)
    expect(items).toMatchObject([{ superAdmin: true }])
    expect(existsSync(join(place.home, 'setup-link'))).toBe(false)
    const stored = JSON.stringify([await server.context.db.read.selectFrom('invitations').selectAll().execute(), server.log])
    expect(stored).not.toContain(token)
  })

  test('a forgotten password is replaced by a link in a mail, once, and every session ends', async () => {
    await using place = await make()
    await using server = await startTestServer(place)
    const admin = await firstAdmin(server)
    expect(await server.as().call(forgotPassword, { body: { email: 'first@example.org' } })).toEqual({ sent: true })
    expect(await server.as().call(forgotPassword, { body: { email: 'nobody@example.org' } })).toEqual({ sent: true })
    const { token, text } = await mailTo(place.home, 'first@example.org', /new password/)
    expect(text).toContain(`${server.url}/reset#token=`)
    const tries = Array.from({ length: 3 }, () => server.as().call(resetPassword, { body: { token, password: 'another long password' } }))
    expect(await codes(tries)).toEqual(['done', 'link_invalid', 'link_invalid'])
    await expect(admin.call(showMe)).rejects.toMatchObject({ status: 401 })
    await expect(signedIn(server, 'first@example.org')).rejects.toMatchObject({ status: 401, code: 'sign_in_failed' })
    await signedIn(server, 'first@example.org', 'another long password')
    await mailTo(place.home, 'first@example.org', /was changed/)
    expect(JSON.stringify([await server.context.db.read.selectFrom('mails').selectAll().execute(), server.log])).not.toContain(token)
    await expect.poll(async () => (await server.context.db.read.selectFrom('mails').select('state').where('recipient', '=', 'nobody@example.org').executeTakeFirst())?.state).toBe('dropped')
  })

  test('who is disabled is out at once, and the last super_admin stays one', async () => {
    await using place = await make()
    await using server = await startTestServer(place)
    const admin = await firstAdmin(server)
    const developer = await member(server, admin, 'dev@example.org')
    const { token } = await developer.call(createKey, { body: { name: 'ci', scopes: ['*'] } })
    expect(await admin.call(updateUser, { params: { userId: 'dev@example.org' }, body: { disabled: true } })).toMatchObject({ disabled: true })
    await expect(developer.call(showMe)).rejects.toMatchObject({ status: 401 })
    await expect(signedIn(server, 'dev@example.org')).rejects.toMatchObject({ status: 403, code: 'account_disabled' })
    await expect(admin.call(updateUser, { params: { userId: 'first@example.org' }, body: { superAdmin: false } })).rejects.toMatchObject({ status: 409, code: 'last_admin' })
    const found = async (search: string): Promise<string[]> => (await admin.call(listUsers, { query: { search } })).items.map(({ email }) => email)
    expect([await found('DEV@'), await found('_'), await found('example.org')]).toEqual([['dev@example.org'], [], ['dev@example.org', 'first@example.org']])
    await admin.call(updateUser, { params: { userId: 'dev@example.org' }, body: { disabled: false, superAdmin: true } })
    // A key that was in a disabled account's hands does not come back with it.
    await expect(server.as(token).call(showMe)).rejects.toMatchObject({ status: 401 })
    const second = await signedIn(server, 'dev@example.org')
    const demoted = [admin.call(updateUser, { params: { userId: 'dev@example.org' }, body: { superAdmin: false } }), second.call(updateUser, { params: { userId: 'first@example.org' }, body: { superAdmin: false } })]
    expect((await codes(demoted)).filter((code) => code === 'done')).toHaveLength(1)
    await expect(server.admin.call(showUser, { params: { userId: 'USR-00000000' } })).rejects.toMatchObject({ status: 404 })
  })

  test('guessing is slowed and locked, for an account that exists as for one that does not, and a restart forgets nothing', async () => {
    await using place = await make()
    const tries = async (url: string, email: string, count: number): Promise<string[]> => {
      const seen: string[] = []
      for (let n = 0; n < count; n += 1) {
        seen.push(await browser(url).call(signIn, { body: { email, password: 'wrong password' } }).then(() => 'in', (error: { code: string; retryAfterMs?: number }) => `${error.code}${error.retryAfterMs === undefined ? '' : ` ${error.retryAfterMs > 0}`}`))
      }
      return seen
    }
    {
      await using server = await startTestServer(place)
      await firstAdmin(server)
      const [known, unknown] = [await tries(server.url, 'first@example.org', 5), await tries(server.url, 'nobody@example.org', 5)]
      expect(known).toEqual(['sign_in_failed', 'sign_in_failed', 'sign_in_failed', 'sign_in_failed', 'too_many_tries true'])
      expect(unknown).toEqual(known)
      // As after many more tries: what is stored says how many there were.
      await server.context.db.write((trx) => trx.updateTable('guesses').set({ failures: 12 }).where('kind', '=', 'account').execute())
    }
    await using server = await startTestServer(place)
    await expect(signedIn(server, 'first@example.org')).rejects.toMatchObject({ status: 429, code: 'too_many_tries', retryAfterMs: expect.any(Number) as number })
    const atOnce = await codes(Array.from({ length: 8 }, () => browser(server.url).call(signIn, { body: { email: 'other@example.org', password: 'wrong password' } })))
    expect(atOnce.filter((code) => code === 'sign_in_failed')).toHaveLength(4)
  })
})

test('a session is a cookie that pages cannot read; its token is stored as a hash, opens as a bearer token too, and ends at sign-out', async () => {
  await using place = await sqlitePlace()
  await using server = await startTestServer(place)
  const admin = await firstAdmin(server)
  const answer = await browser(server.url).fetch('/api/auth/sign-in', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ email: 'First@Example.org', password: PASSWORD }) })
  expect(answer.headers.getSetCookie().find((line) => line.startsWith('swarm.session_token='))).toMatch(/HttpOnly.*SameSite=Lax/i)
  expect(JSON.stringify(await answer.json())).not.toContain('swarm_session_')
  const token = (admin.cookies.get('swarm.session_token') ?? '').split('.')[0] ?? ''
  expect(token).toMatch(/^swarm_session_[\w-]{43}$/)
  expect(JSON.stringify([await server.context.db.read.selectFrom('user_sessions').selectAll().execute(), server.log])).not.toContain(token)
  expect(await admin.call(showMe)).toMatchObject({ email: 'first@example.org', superAdmin: true, via: 'session', memberships: [{ slug: 'default', role: 'admin' }], hasPassword: true })
  expect(await server.as(token).call(showMe)).toMatchObject({ email: 'first@example.org' })
  expect(await admin.call(listProjects)).toMatchObject({ items: [] })
  await admin.call(signOut)
  expect(admin.cookies.has('swarm.session_token')).toBe(false)
  await expect(server.as(token).call(showMe)).rejects.toMatchObject({ status: 401 })
  const bearer = (await signedIn(server, 'first@example.org')).cookies.get('swarm.session_token')!.split('.')[0]!
  await server.as(bearer).call(signOut)
  await expect(server.as(bearer).call(showMe)).rejects.toMatchObject({ status: 401 })
})

test('an invitation makes one account of its address and role, whoever races, and who may do what the role says', async () => {
  await using place = await sqlitePlace()
  await using server = await startTestServer(place)
  const developer = await member(server, await firstAdmin(server), 'dev@example.org')
  expect(await developer.call(showMe)).toMatchObject({ superAdmin: false, memberships: [{ slug: 'default', role: 'developer' }] })
  expect(await developer.call(listProjects)).toEqual({ items: [], nextCursor: null })
  await expect(developer.call(createProject, { body: { slug: 'shop' } })).rejects.toMatchObject({ status: 403, code: 'forbidden', details: { action: 'project:create' } })
  const { token } = await mailTo(place.home, 'dev@example.org', /Invitation/)
  await expect(server.as().call(redeemInvitation, { body: { token, name: 'Again', password: PASSWORD } })).rejects.toMatchObject({ status: 410, code: 'link_invalid' })
  await expect(server.as().call(register, { body: { email: 'dev@example.org' } })).rejects.toMatchObject({ status: 403, code: 'registration_closed' })
  await expect(server.as().call(register, { body: { email: 'nobody@example.org' } })).rejects.toMatchObject({ status: 403, code: 'registration_closed' })
  expect(await developer.call(updateMe, { body: { name: 'New Name' } })).toMatchObject({ name: 'New Name' })
  await expect(developer.call(updateMe, { body: { name: '<b>' } })).rejects.toMatchObject({ status: 400, details: { field: 'body.name' } })
})

test('changing the password ends other sessions and not the own one; sessions are listed and revoked, of others only by a super_admin', async () => {
  await using place = await sqlitePlace()
  await using server = await startTestServer(place)
  const admin = await firstAdmin(server)
  const [one, two] = [await member(server, admin, 'dev@example.org'), await signedIn(server, 'dev@example.org')]
  const page = await one.call(listLogins, { query: { limit: 1 } })
  expect(page.items).toHaveLength(1)
  const rest = await one.call(listLogins, { query: { limit: 1, cursor: page.nextCursor! } })
  expect([...page.items, ...rest.items].filter(({ current }) => current)).toHaveLength(1)
  expect(rest.nextCursor).toBeNull()
  const own = (await admin.call(listLogins)).items[0]!.id
  await expect(one.call(revokeLogin, { params: { loginId: own } })).rejects.toMatchObject({ status: 404 })
  await expect(one.call(changePassword, { body: { current: 'wrong', password: 'another long password' } })).rejects.toMatchObject({ status: 403, code: 'password_wrong' })
  await one.call(changePassword, { body: { current: PASSWORD, password: 'another long password' } })
  await expect(two.call(showMe)).rejects.toMatchObject({ status: 401 })
  const three = await signedIn(server, 'dev@example.org', 'another long password')
  expect(await one.call(revokeOtherLogins)).toEqual({ ended: 1 })
  await expect(three.call(showMe)).rejects.toMatchObject({ status: 401 })
  await admin.call(revokeLogin, { params: { loginId: (await one.call(listLogins)).items[0]!.id } })
  await expect(one.call(showMe)).rejects.toMatchObject({ status: 401 })
})

test('a request with the cookie that changes something must come from a page of this server', async () => {
  await using place = await sqlitePlace()
  await using server = await startTestServer(place)
  const admin = await firstAdmin(server)
  const cookie = [...admin.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
  const post = async (headers: Record<string, string>): Promise<number> => (await fetch(`${server.url}/api/system/live-tickets`, { method: 'POST', headers: { cookie, ...headers } })).status
  expect(await post({})).toBe(403)
  expect(await post({ 'sec-fetch-site': 'cross-site' })).toBe(403)
  expect(await post({ origin: 'https://elsewhere.example' })).toBe(403)
  expect(await post({ origin: server.url })).toBe(201)
  expect(await post({ 'sec-fetch-site': 'same-origin', origin: 'null' })).toBe(201)
  expect((await fetch(`${server.url}/api/projects`, { headers: { cookie } })).status).toBe(200)
  await expect(browser(server.url, { 'sec-fetch-site': 'cross-site' }).call(signIn, { body: { email: 'first@example.org', password: PASSWORD } })).rejects.toMatchObject({ status: 403, code: 'csrf' })
  const token = admin.cookies.get('swarm.session_token')!.split('.')[0]!
  expect(await server.as(token).call(createLiveTicket)).toMatchObject({ ticket: expect.any(String) as string })
})

test('the secret of accounts is made once, in a 0600 file, and is in no log', async () => {
  await using place = await sqlitePlace()
  const read = (): string => readFileSync(join(place.home, 'keys', 'accounts'), 'utf8')
  let first: string
  {
    await using server = await startTestServer(place)
    await firstAdmin(server)
    first = read()
    expect(statSync(join(place.home, 'keys', 'accounts')).mode & 0o777).toBe(0o600)
    expect(JSON.stringify(server.log)).not.toContain(first.trim())
  }
  await using _server = await startTestServer(place)
  expect(read()).toBe(first)
})
