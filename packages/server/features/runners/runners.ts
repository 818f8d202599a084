import { listRunners } from '@swarm/contract/endpoints/runners.ts'
import { registerRunner as registerRunnerEndpoint } from '@swarm/contract/runner-protocol.ts'
import type { Context } from '../../context.ts'
import { page } from '../../http/pages.ts'
import { register } from '../../http/register.ts'
import { mintToken, revokeTokens } from '../../http/tokens.ts'
import { runners } from './queries.ts'
import { registerRunner } from './service.ts'

/** A runner is shown as online for this long after its last call, ms (the lease of its work). */
const ONLINE_MS = 30_000

export function registerRunners(context: Context): void {
  const { http, db, ids, clock } = context

  register(http, registerRunnerEndpoint, async ({ body }) => db.write(async (trx) => {
    const runner = await registerRunner(trx, { name: body.name, id: ids('runner'), now: clock() })
    await revokeTokens(trx, { kind: 'runner', subjectId: runner.id })
    const { token } = await mintToken(trx, { kind: 'runner', subjectId: runner.id })
    return { ...runner, token }
  }))

  register(http, listRunners, async ({ query }) => page(await runners(db.read, query.cursor ?? '', query.limit + 1), query.limit, (row) => ({
      id: row.id, name: row.name, driver: row.driver, isolates: row.isolates === null ? null : row.isolates === 1, capacity: row.capacity,
      online: row.seen_at !== null && clock() - row.seen_at < ONLINE_MS, noRoom: row.no_room, seenAt: row.seen_at, createdAt: row.created_at,
    }), ({ name }) => name))
}
