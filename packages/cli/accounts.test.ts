import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { createClient } from '@swarm/contract/client.ts'
import { resolveSettings } from '@swarm/contract/config.ts'
import { decideDevice, redeemInvitation } from '@swarm/contract/endpoints/accounts.ts'
import { expect, test } from 'vitest'
import type { Command } from './command.ts'
import { keyCreate } from './commands/key/create.ts'
import { login } from './commands/login.ts'
import { logout } from './commands/logout.ts'
import { userInvite } from './commands/user/invite.ts'
import { userList } from './commands/user/list.ts'
import { whoami } from './commands/whoami.ts'
import { makeDesk } from './testing.ts'

/** A browser that keeps the cookie of its session. */
function browser(url: string) {
  let cookie = ''
  return createClient({ baseUrl: url, fetch: async (input, init) => {
    const response = await fetch(input, { ...init, headers: { ...Object.fromEntries(new Headers(init?.headers)), cookie, 'sec-fetch-site': 'same-origin' } })
    cookie = response.headers.getSetCookie().find((line) => line.startsWith('swarm.session_token='))?.split(';')[0] ?? cookie
    return response
  } })
}

test('people sign in from another folder by a code, then act there as themselves, and sign out', { timeout: 120_000 }, async () => {
  await using desk = makeDesk()
  const started = await desk.swarm(['start', '--port', '0', '--no-runner', '--json'])
  const url = String(started.json['url'])
  const link = readFileSync(join(desk.home, 'setup-link'), 'utf8').trim()
  expect(link.startsWith(`${url}/join#token=`)).toBe(true)
  // The log of a platform in the background says where the link is, and not what it is.
  const log = readFileSync(join(desk.home, 'logs', 'platform.log'), 'utf8')
  expect(log).toContain(join(desk.home, 'setup-link'))
  expect(log).not.toContain('swarm_setup_')
  const person = browser(url)
  await person.call(redeemInvitation, { body: { token: link.split('=')[1] ?? '', name: 'First', email: 'first@example.org', password: 'correct horse battery' } })

  const elsewhere = join(desk.folder, 'elsewhere')
  const said: string[] = []
  const io = { json: true, interactive: false, say: (line: string) => { said.push(line) }, status: () => undefined, style: (_: unknown, text: string) => text, result: () => undefined }
  const run = async (each: Command, input: Record<string, unknown> = {}, client: Record<string, unknown> = { 'client.server': url }, home = elsewhere) =>
    (await each.run(each.input.parse(input), { io, signal: new AbortController().signal, settings: () => resolveSettings({ env: {}, userFolder: desk.folder, argv: { home, ...client } }) })).json

  await expect(run(userList)).rejects.toMatchObject({ code: 'not_signed_in', remedy: expect.stringContaining(`swarm login --server ${url}`) as string })
  const signedIn = run(login)
  await expect.poll(() => said.join('\n')).toMatch(/approve the code/)
  const userCode = /approve the code (\w+)/.exec(said.join('\n'))?.[1] ?? ''
  expect(said).toContain(`Open ${url}/device?user_code=${userCode}`)
  await person.call(decideDevice, { body: { userCode, decision: 'approved' } })
  expect(await signedIn).toMatchObject({ server: url, email: 'first@example.org' })
  expect(statSync(join(elsewhere, 'credentials.json')).mode & 0o777).toBe(0o600)

  expect((await desk.swarm(['whoami', '--server', url, '--json'], { SWARM_HOME: elsewhere })).json).toMatchObject({ server: url, email: 'first@example.org', via: 'session' })
  expect(await run(userInvite, { email: 'dev@example.org' })).toMatchObject({ email: 'dev@example.org', role: 'developer', invitedBy: expect.stringMatching(/^user USR-/) as string })
  const key = await run(keyCreate, { name: 'ci', scope: ['*'] })
  expect(await run(whoami, {}, { 'client.server': url, 'client.token': key['token'] }, join(desk.folder, 'third'))).toMatchObject({ via: 'key', scopes: ['*'] })
  // The admin token of a home is for its own server alone.
  expect(await run(whoami, {}, {}, desk.home)).toMatchObject({ via: 'admin token' })
  await expect(run(whoami, {}, { 'client.server': url }, desk.home)).rejects.toMatchObject({ code: 'not_signed_in' })
  expect(await run(logout)).toEqual({ server: url, ended: true })
  await expect(run(whoami)).rejects.toMatchObject({ code: 'not_signed_in' })
  expect(existsSync(join(elsewhere, 'credentials.json'))).toBe(false)
})
