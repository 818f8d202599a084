import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { DomainError } from '@swarm/core/errors.ts'
import { loadConfig } from '../config.ts'
import { openDatabase } from '../db/open.ts'
import { planRetention } from '../features/retention/plan.ts'
import { removePlanned } from '../features/retention/remove.ts'
import { createBlobFolder } from '../integrations/blobs-folder.ts'
import { repositoryPath } from '../integrations/builtin-code-host/bare.ts'
import type { CommandContext, CommandOptions } from './main.ts'

/** Does at once what the server does daily, or only says what would go. Beside a running server, both are careful enough. */
export async function retention({ 'dry-run': dryRun = false }: CommandOptions, { progress, signal }: CommandContext): Promise<object> {
  const { config } = loadConfig()
  const database = join(config.home, 'swarm.sqlite')
  if (config.databaseUrl === undefined && !existsSync(database)) throw new DomainError('database_missing', { path: database })
  await using db = await openDatabase({ home: config.home, databaseUrl: config.databaseUrl?.reveal() })
  const blobs = await createBlobFolder(join(config.home, 'blobs'))
  progress({ phase: 'looking', detail: 'what is old, and what is needed still' })
  const rules = config.retention
  const plan = await planRetention({ read: db.read, blobs, now: Date.now, pathOf: ({ projectSlug, slug }) => repositoryPath(join(config.home, 'repositories'), projectSlug, slug) }, rules)
  const planned = {
    blobs: plan.blobs.length, bytes: plan.blobs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0), refs: plan.refs.reduce((sum, { refs }) => sum + refs.length, 0),
    repositories: plan.refs.map(({ name, refs }) => ({ name, refs: refs.length })),
  }
  const removed = { blobs: 0, refs: 0, bytes: 0 }
  if (!dryRun) {
    for await (const piece of removePlanned({ db, blobs, refDays: rules.refDays }, plan, signal)) {
      for (const key of ['blobs', 'refs', 'bytes'] as const) removed[key] += piece[key]
      progress({ phase: 'removing', detail: `${removed.refs} refs, ${removed.blobs} blobs`, bytes: removed.bytes })
    }
  }
  return { dryRun, rules, planned, removed: dryRun ? null : removed }
}
