import { readFile } from 'node:fs/promises'
import { DomainError } from '@swarm/core/errors.ts'
import { Secret } from '@swarm/core/secret.ts'
import { z } from 'zod'
import type { Config } from '../../config.ts'

export interface GithubApp { readonly clientId: string; readonly clientSecret: Secret; readonly baseUrl: string; readonly apiUrl: string }

const TIMEOUT_MS = 10_000
const Profile = z.object({ id: z.number().int(), login: z.string(), name: z.string().nullish() })
const Emails = z.array(z.object({ email: z.string(), primary: z.boolean(), verified: z.boolean() }))

/** The OAuth app of the settings; null when there is none. @throws DomainError `config_invalid` for one without its secret */
export async function githubApp({ clientId, clientSecret, clientSecretFile, baseUrl, apiUrl }: Config['accounts']['github']): Promise<GithubApp | null> {
  if (clientId === undefined) return null
  const secret = clientSecret ?? (clientSecretFile === undefined ? undefined : new Secret((await readFile(clientSecretFile, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new DomainError('config_invalid', { field: 'accounts.github.clientSecretFile', problem: `it cannot be read (${error.code ?? ''})`, source: 'config.yml or SWARM_GITHUB_CLIENT_SECRET_FILE' })
  })).trim()))
  if (secret === undefined) throw new DomainError('config_invalid', { field: 'accounts.github.clientSecret', problem: 'accounts.github.clientId needs it', source: 'config.yml or SWARM_GITHUB_CLIENT_SECRET' })
  const base = baseUrl.replace(/\/+$/, '')
  return { clientId, clientSecret: secret, baseUrl: base, apiUrl: (apiUrl ?? (base === 'https://github.com' ? 'https://api.github.com' : `${base}/api/v3`)).replace(/\/+$/, '') }
}

/** Who an access token of GitHub belongs to, with the address that GitHub has verified; null when there is none or GitHub refuses. */
export async function readGithubUser(app: GithubApp, accessToken: string): Promise<{ id: string; email: string; emailVerified: boolean; name: string } | null> {
  const ask = async (path: string): Promise<unknown> => {
    const response = await fetch(`${app.apiUrl}${path}`, { headers: { authorization: `Bearer ${accessToken}`, accept: 'application/vnd.github+json', 'user-agent': 'swarm' }, signal: AbortSignal.timeout(TIMEOUT_MS) })
    return response.ok ? await response.json() : null
  }
  const [profile, emails] = [Profile.safeParse(await ask('/user')), Emails.safeParse(await ask('/user/emails'))]
  if (!profile.success || !emails.success) return null
  const verified = emails.data.filter((each) => each.verified)
  const email = (verified.find((each) => each.primary) ?? verified[0])?.email
  return email === undefined ? null : { id: String(profile.data.id), email: email.toLowerCase(), emailVerified: true, name: (profile.data.name ?? profile.data.login).slice(0, 100) }
}
