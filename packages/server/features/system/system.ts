import { describeSettings } from '@swarm/contract/config.ts'
import { showAbout, showConfig } from '@swarm/contract/endpoints/system.ts'
import type { z } from 'zod'
import type { Context } from '../../context.ts'
import { register } from '../../http/register.ts'
import { VERSION } from '../../version.ts'

type About = z.output<typeof showAbout.response>

/** What is installed and how it is set. @param given.drivers what hosts told about what runs their microVMs */
export function registerSystem({ http, db, clock, config, sources }: Pick<Context, 'http' | 'db' | 'clock' | 'config' | 'sources'>, given: { provider: string; drivers(): Promise<About['drivers']> }): void {
  const startedAt = clock()

  register(http, showConfig, async () => ({
    items: describeSettings({ config, sources }).map((row) => ({ ...row, value: row.value as z.output<typeof showConfig.response>['items'][number]['value'], environment: [...row.environment] })),
  }))

  register(http, showAbout, async () => ({
    version: VERSION, database: { dialect: db.dialect, migration: (await db.migrations()).at(-1) ?? '' }, model: { provider: given.provider, defaultModel: config.model.defaultModel },
    drivers: await given.drivers(), startedAt, uptimeMs: clock() - startedAt,
  }))
}
