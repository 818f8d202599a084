import { SETTINGS } from '@swarm/contract/config.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { table } from '../../io.ts'

export const configShow = command({
  name: 'config show',
  summary: 'Shows every setting with its value and where that comes from',
  description: 'Settings come from the environment, then config.yml in the home folder, then defaults. Secrets are never printed.',
  examples: [['swarm config show', 'a table of all settings'], ['SWARM_PORT=9000 swarm config show --json', 'the same for programs']],
  input: z.object({}),
  async run(_, { settings }) {
    const { config, sources } = settings()
    const rows = SETTINGS.map(({ path, env, description }) => ({ setting: path, value: at(config, path) ?? null, source: sources[path] ?? 'default', environment: env, description }))
    return {
      json: { settings: JSON.parse(JSON.stringify(rows)) as unknown },
      text: table(['setting', 'value', 'source', 'environment'], rows.map((row) => [row.setting, show(row.value), row.source, row.environment[0] ?? ''])),
    }
  },
})

function at(value: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>((inner, key) => (typeof inner === 'object' && inner !== null ? (inner as Record<string, unknown>)[key] : undefined), value)
}

function show(value: unknown): string {
  return value === null ? '-' : typeof value === 'object' && !('reveal' in value) ? JSON.stringify(value) : String(value)
}
