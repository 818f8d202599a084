import { homedir } from 'node:os'
import { delimiter, isAbsolute, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Resolved } from '@swarm/contract/config.ts'
import { loadConfig } from '@swarm/contract/load-config.ts'

/** The one reader of the environment in the command line. */
type Environment = Readonly<Record<string, string | undefined>>

/** The checkout that this program runs from. */
export const CHECKOUT = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')

/** The folder that the user called from, which their relative paths mean (bin/swarm.mjs hands it on). */
export function callerFolder(env: Environment = process.env): string {
  return env['SWARM_CALLER_CWD'] || process.cwd()
}

/** A path that the user gave, made absolute. */
export function userPath(path: string, env: Environment = process.env): string {
  if (path === '~' || path.startsWith('~/')) return join(homedir(), path.slice(1))
  return isAbsolute(path) ? path : resolve(callerFolder(env), path)
}

/** @throws DomainError config_invalid */
export function settings(argv: Readonly<Record<string, unknown>> = {}, env: Environment = process.env): Resolved {
  return loadConfig(absoluteFolders(env), argv)
}

/** The environment of a child process, with changes; undefined takes a variable away. */
export function childEnvironment(changes: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(Object.entries({ ...absoluteFolders(process.env), ...changes }).filter((entry): entry is [string, string] => entry[1] !== undefined))
}

/** Folders in PATH, for finding programs. */
export function searchPath(): string[] {
  return (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '')
}

/** What kind of terminal this is (TERM), for programs elsewhere that draw on it. */
export function terminalName(env: Environment = process.env): string {
  const name = env['TERM'] ?? ''
  return /^[A-Za-z0-9+._-]{1,64}$/.test(name) ? name : 'xterm'
}

/** SWARM_HOME and SWARM_CACHE mean folders as seen from where the user called, also in processes that run elsewhere. */
function absoluteFolders(env: Environment): Record<string, string | undefined> {
  const absolute = (value: string | undefined): string | undefined => (value ? userPath(value, env) : value)
  return { ...env, SWARM_HOME: absolute(env['SWARM_HOME']), SWARM_CACHE: absolute(env['SWARM_CACHE']) }
}
