import { type Resolved } from '@swarm/contract/config.ts'
import { loadConfig as load } from '@swarm/contract/load-config.ts'

export type { Config } from '@swarm/contract/config.ts'

/** The environment of this process; the one place in the server that reads it. */
export function processEnvironment(): Readonly<Record<string, string | undefined>> {
  return process.env
}

/** The settings of this server (contract/load-config.ts). @throws DomainError `config_invalid` */
export function loadConfig(env: Readonly<Record<string, string | undefined>> = processEnvironment(), argv: Readonly<Record<string, unknown>> = {}): Resolved {
  return load(env, argv)
}
