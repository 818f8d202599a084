import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { DomainError } from '@swarm/core/errors.ts'
import { parse } from 'yaml'
import { homeOf, resolveSettings, type Resolved } from './config.ts'

/**
 * The settings of this process: arguments (by dotted path), environment, `<home>/config.yml`, defaults. Paths become absolute.
 * @throws DomainError `config_invalid`
 */
export function loadConfig(env: Readonly<Record<string, string | undefined>>, argv: Readonly<Record<string, unknown>> = {}): Resolved {
  const where = { env, argv, userFolder: homedir() }
  const filePath = join(resolve(homeOf(where)), 'config.yml')
  const { config, sources } = resolveSettings({ ...where, file: readYaml(filePath), filePath })
  return { config: { ...config, home: resolve(config.home), cache: resolve(config.cache) }, sources }
}

function readYaml(path: string): unknown {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw new DomainError('config_invalid', { field: '(all)', problem: `it cannot be read: ${String(error)}`, source: path }, { cause: error })
  }
  try {
    return parse(text) ?? undefined
  } catch (error) {
    throw new DomainError('config_invalid', { field: '(all)', problem: error instanceof Error ? error.message : String(error), source: path }, { cause: error })
  }
}
