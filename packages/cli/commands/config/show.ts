import { describeSettings } from '@swarm/contract/config.ts'
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
    const rows = describeSettings(settings())
    return {
      json: { settings: rows },
      text: table(['setting', 'value', 'source', 'environment'], rows.map((row) => [row.setting, show(row.value), row.source, row.environment[0] ?? ''])),
    }
  },
})

function show(value: unknown): string {
  return value === null ? '-' : typeof value === 'object' ? JSON.stringify(value) : String(value)
}
