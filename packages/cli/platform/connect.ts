import type { Config } from '@swarm/contract/config.ts'
import { createClient, type Client } from '@swarm/contract/client.ts'
import { UserError } from '../errors.ts'
import { EXIT } from '../exit-codes.ts'
import { patientFetch } from './patient-fetch.ts'
import { readAdminToken } from './platform.ts'
import { readRunFile, type RunFile } from './run-file.ts'

/** A client of the platform that runs on this home. @throws UserError not_running, with how to start it */
export function connect(config: Config): { client: Client; server: RunFile; token: string } {
  const server = readRunFile(config.home)
  if (server === null) throw new UserError('not_running', `No platform runs on ${config.home}.`, 'Start it with "swarm start" (or "swarm up" to watch it), or name another folder with SWARM_HOME.', EXIT.platform)
  const token = readAdminToken(config.home)
  return { client: createClient({ baseUrl: server.url, token, fetch: patientFetch }), server, token }
}
