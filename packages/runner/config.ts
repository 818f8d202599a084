import { readFileSync } from 'node:fs'
import { loadConfig } from '@swarm/contract/load-config.ts'
import type { Config } from '@swarm/contract/config.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { Secret } from '@swarm/core/secret.ts'

export interface RunnerConfig {
  readonly settings: Config
  readonly serverUrl: string
  readonly name: string
  readonly token: Secret
}

/**
 * The settings of this runner. `argv` gives the address of the server, the name of this runner and the file of its token
 * (a token on a command line could be read by every user of the host).
 * @throws DomainError config_invalid
 */
export function loadRunnerConfig(argv: { server: string; name: string; tokenFile: string }): RunnerConfig {
  const { settings } = loadRunnerSettings()
  let token: string
  try {
    token = readFileSync(argv.tokenFile, 'utf8').trim()
  } catch (error) {
    throw new DomainError('config_invalid', { field: '--token-file', problem: `it cannot be read: ${String(error)}`, source: 'argument' }, { cause: error })
  }
  return { settings, serverUrl: argv.server, name: argv.name, token: new Secret(token) }
}

/** The settings of this host alone, for what needs no server. @throws DomainError config_invalid */
export function loadRunnerSettings(): { readonly settings: Config } {
  return { settings: loadConfig(process.env).config }
}
