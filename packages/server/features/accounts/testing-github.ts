import { createHash, randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'

/**
 * A local server that speaks GitHub's OAuth (web application flow with PKCE) and the two calls of its API that signing in needs. It gives a
 * code only for a request with a state and an S256 challenge, and a token only for that code, once, with the secret and the verifier.
 */
export interface Github extends AsyncDisposable {
  readonly url: string
  readonly clientId: string
  readonly clientSecret: string
  /** Who is signed in there. */
  user: { id: number; login: string; name: string | null; emails: { email: string; primary: boolean; verified: boolean }[] }
  /** Why it refused, so far. */
  readonly refused: string[]
}

export async function startGithub(): Promise<Github> {
  const clientId = 'client-1'
  const clientSecret = randomUUID()
  const codes = new Map<string, { challenge: string; redirectUri: string }>()
  const tokens = new Set<string>()
  const refused: string[] = []
  let user: Github['user'] = { id: 7, login: 'octo', name: 'Octo', emails: [{ email: 'octo@example.org', primary: true, verified: true }] }
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://github')
    const refuse = (why: string): void => {
      refused.push(why)
      response.writeHead(400, { 'content-type': 'application/json' }).end(JSON.stringify({ error: why }))
    }
    const json = (body: unknown): void => { response.setHeader('content-type', 'application/json').end(JSON.stringify(body)) }
    const query = url.searchParams
    if (url.pathname === '/login/oauth/authorize') {
      if (query.get('client_id') !== clientId) return refuse('client_id')
      if ((query.get('state') ?? '').length < 16) return refuse('state')
      if (query.get('code_challenge_method') !== 'S256' || query.get('code_challenge') === null) return refuse('pkce')
      const code = randomUUID()
      codes.set(code, { challenge: query.get('code_challenge') ?? '', redirectUri: query.get('redirect_uri') ?? '' })
      const back = new URL(query.get('redirect_uri') ?? '')
      back.searchParams.set('code', code)
      back.searchParams.set('state', query.get('state') ?? '')
      response.writeHead(302, { location: back.href }).end()
      return
    }
    if (url.pathname === '/login/oauth/access_token') {
      void text(request).then((body) => {
        const form = new URLSearchParams(body)
        const known = codes.get(form.get('code') ?? '')
        codes.delete(form.get('code') ?? '')
        if (!known) return refuse('code')
        if (form.get('client_id') !== clientId || form.get('client_secret') !== clientSecret) return refuse('client_secret')
        if (form.get('redirect_uri') !== known.redirectUri) return refuse('redirect_uri')
        if (createHash('sha256').update(form.get('code_verifier') ?? '').digest('base64url') !== known.challenge) return refuse('code_verifier')
        const token = `gho_${randomUUID()}`
        tokens.add(token)
        json({ access_token: token, token_type: 'bearer', scope: 'read:user,user:email' })
      })
      return
    }
    if (!tokens.has((request.headers.authorization ?? '').replace(/^Bearer /, ''))) return refuse('token')
    if (url.pathname === '/api/v3/user') return json({ id: user.id, login: user.login, name: user.name, email: null })
    if (url.pathname === '/api/v3/user/emails') return json(user.emails)
    refuse(url.pathname)
  })
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, clientId, clientSecret, refused,
    get user() { return user },
    set user(next) { user = next },
    [Symbol.asyncDispose]: () => new Promise((resolve) => {
      server.close(() => { resolve() })
      server.closeAllConnections()
    }),
  }
}
