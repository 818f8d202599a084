import type { Config } from '@swarm/contract/config.ts'
import { createClient, type Client } from '@swarm/contract/client.ts'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { UserError } from '../errors.ts'
import { EXIT } from '../exit-codes.ts'
import { credentialFor, serverKey } from './credentials.ts'
import { patientFetch } from './patient-fetch.ts'
import { readAdminToken } from './platform.ts'
import { readRunFile, type RunFile } from './run-file.ts'

/** The server that commands talk to: the one that is named, else the one that runs on this home. @throws UserError not_running, with how to start it */
export function serverOf({ home, client }: Config): RunFile {
  if (client.server !== undefined) return { pid: 0, startTicks: null, url: serverKey(client.server), model: 'as its settings say', startedAt: 0, processes: [] }
  const server = readRunFile(home)
  if (server === null) throw new UserError('not_running', `No platform runs on ${home}.`, 'Start it with "swarm start" (or "swarm up" to watch it), or name another folder with SWARM_HOME.', EXIT.platform)
  return server
}

/** A client of that server, with the token of the settings, the admin token of this home for its own server, or what "swarm login" keeps. @throws UserError */
export function connect(config: Config): { client: Client; server: RunFile; token: string } {
  const server = serverOf(config)
  const token = tokenFor(config, server.url)
  return { client: createClient({ baseUrl: server.url, token, fetch: patientFetch }), server, token }
}

function tokenFor({ home, client }: Config, url: string): string {
  if (client.token) return client.token.reveal()
  // The admin token of this home is for its own server, and shown to no other one.
  if (client.server === undefined && existsSync(join(home, 'admin-token'))) return readAdminToken(home)
  const kept = credentialFor(home, url)
  if (kept) return kept.token
  if (client.server === undefined) return readAdminToken(home)
  throw new UserError('not_signed_in', `Nobody is signed in at ${url}.`, `Sign in with "swarm login --server ${url}", or put an API key into SWARM_TOKEN.`, EXIT.platform)
}
