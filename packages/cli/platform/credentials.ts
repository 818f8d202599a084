import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseJson } from '@swarm/core/json.ts'
import { z } from 'zod'

/** `<home>/credentials.json` (0600): the sessions that "swarm login" got, by the address of their server. */
const Credentials = z.object({ servers: z.record(z.string(), z.object({ token: z.string(), email: z.string(), expiresAt: z.number() })) })
type Credential = z.infer<typeof Credentials>['servers'][string]

const pathOf = (home: string): string => join(home, 'credentials.json')
export const serverKey = (url: string): string => url.replace(/\/+$/, '')

function read(home: string): z.infer<typeof Credentials> {
  if (!existsSync(pathOf(home))) return { servers: {} }
  return Credentials.safeParse(parseJson(readFileSync(pathOf(home), 'utf8'))).data ?? { servers: {} }
}

export function credentialFor(home: string, url: string): Credential | undefined {
  return read(home).servers[serverKey(url)]
}

/** Keeps a session, or with null forgets it. Written whole: a kill leaves the one or the other. */
export function keepCredential(home: string, url: string, credential: Credential | null): void {
  const { [serverKey(url)]: _, ...others } = read(home).servers
  const servers = credential === null ? others : { ...others, [serverKey(url)]: credential }
  if (Object.keys(servers).length === 0) {
    rmSync(pathOf(home), { force: true })
    return
  }
  mkdirSync(home, { recursive: true, mode: 0o700 })
  const temporary = `${pathOf(home)}.${process.pid}.new`
  writeFileSync(temporary, `${JSON.stringify({ servers }, null, 2)}\n`, { mode: 0o600 })
  renameSync(temporary, pathOf(home))
}

/**
 * How the first account is made, while there is none. The link itself is shown to a person at a terminal, and written nowhere: whoever has
 * it becomes super_admin.
 */
export function firstSignIn(home: string, interactive: boolean): string[] {
  const path = join(home, 'setup-link')
  if (!existsSync(path)) return []
  return [`  first account   ${interactive ? readFileSync(path, 'utf8').trim() : `open the link in ${path}`}`]
}
