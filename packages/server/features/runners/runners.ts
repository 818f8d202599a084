import { drainRunner, listRunners, removeRunner, showRunner, undrainRunner } from '@swarm/contract/endpoints/runners.ts'
import { registerRunner as registerRunnerEndpoint } from '@swarm/contract/runner-protocol.ts'
import type { Context } from '../../context.ts'
import { DAY_MS } from '../../db/days.ts'
import { page } from '../../http/pages.ts'
import { register } from '../../http/register.ts'
import { mintToken, revokeTokens } from '../../http/tokens.ts'
import { setDraining, shownRunner, takeAway } from './administration.ts'
import { presentDetail, presentRunner } from './present.ts'
import { bootsOf, endedVms, heldWork, liveVmsOf, runners } from './queries.ts'
import { registerRunner } from './service.ts'

/** How far back a runner's history goes unless it is asked for more. */
const HISTORY_DAYS = 14
const BOOTS = 50

export function registerRunners(context: Context): void {
  const { http, db, ids, clock } = context

  register(http, registerRunnerEndpoint, async ({ body }) => db.write(async (trx) => {
    const runner = await registerRunner(trx, { name: body.name, id: ids('runner'), now: clock() })
    await revokeTokens(trx, { kind: 'runner', subjectId: runner.id })
    const { token } = await mintToken(trx, { kind: 'runner', subjectId: runner.id })
    return { ...runner, token }
  }))

  register(http, listRunners, async ({ query }) => page(await runners(db.read, query.cursor ?? '', query.limit + 1), query.limit, (row) => presentRunner(row, clock()), ({ name }) => name))

  register(http, showRunner, async ({ params, query, principal }) => {
    const runner = await shownRunner(db.read, params.runnerId)
    const now = clock()
    return presentDetail({
      runner, now, visible: await http.authorization.projectsFor(principal, 'project:read'), boots: await bootsOf(db.read, runner.id, BOOTS), held: await heldWork(db.read, runner.id),
      vms: await liveVmsOf(db.read, runner.id), ended: await endedVms(db.read, runner.id, query.since ?? now - HISTORY_DAYS * DAY_MS),
    })
  })

  register(http, drainRunner, async ({ params, body, principal, correlationId }) =>
    presentRunner(await db.write((trx) => setDraining(trx, { id: params.runnerId, draining: body, by: `${principal.kind} ${principal.id}`, now: clock(), correlationId })), clock()))
  register(http, undrainRunner, async ({ params, principal, correlationId }) =>
    presentRunner(await db.write((trx) => setDraining(trx, { id: params.runnerId, draining: null, by: `${principal.kind} ${principal.id}`, now: clock(), correlationId })), clock()))

  register(http, removeRunner, async ({ params, principal, correlationId }) => {
    await db.write((trx) => takeAway(trx, { id: params.runnerId, by: `${principal.kind} ${principal.id}`, now: clock(), correlationId }))
    return undefined
  })
}
