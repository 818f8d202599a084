import { inParams } from '@swarm/contract/endpoint.ts'
import { listVms } from '@swarm/contract/endpoints/runners.ts'
import { forkVm, killVm, pauseVm, resumeVm, showVm, vmLogs, vmSamples, vmTotals, type VmTotals } from '@swarm/contract/endpoints/vms.ts'
import type { VmUsage } from '@swarm/contract/runner-protocol.ts'
import { endOperation as endOperationEndpoint, nextOperations as nextOperationsEndpoint, STREAM_CLOSE_CODES, type OperationInput, type VmLogs } from '@swarm/contract/vm-operations.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Context } from '../../context.ts'
import type { Duty } from '../../coordinator/duty.ts'
import { page, readPosition } from '../../http/pages.ts'
import { register } from '../../http/register.ts'
import { verifyPrincipal, type Principal } from '../../http/tokens.ts'
import { endOperation, nextOperations, overdueOperationsDuty, reportOperation, requestOperation, requireVm, untilEnded, type OperationDependencies } from './operations.ts'
import { measured, presentDetail, presentOperation, presentVm } from './present.ts'
import { operationById, operationsOf, samplesOf, totalsBy, vms, vmsOfWork, type TotalsRow } from './queries.ts'
import { createRelay } from './relay.ts'
import { recordUsage, samplesDuty } from './usage.ts'
import { createVmMetrics, type VmMetrics } from './vm-metrics.ts'

/** Two logs of 512 KiB, as JSON. */
const LOGS_BODY_BYTES = 4 * 1024 * 1024

export interface Vms {
  readonly metrics: VmMetrics
  recordUsage(runnerId: string, usage: readonly VmUsage[]): Promise<void>
  readonly duties: readonly Duty[]
}

/** MicroVMs for people: what they are and use, and what can be done to them. */
export function createVms(context: Context, given: Pick<OperationDependencies, 'recordPause' | 'recordVm' | 'bootOf'> & { runnerName(id: string): Promise<string> }): Vms {
  const { http, db, ids, clock, logger } = context
  const deps: OperationDependencies = { db, now: clock, makeId: ids, recordPause: given.recordPause, recordVm: given.recordVm, bootOf: given.bootOf }
  const metrics = createVmMetrics(context.metrics.registry, () => totalsBy(db.read, 'runner'))

  register(http, listVms, async ({ query, projects }) => page(await vms(db.read, { ...query, projects: await projects() }, readPosition(query.cursor), query.limit + 1), query.limit, ({ vm, usage }) => presentVm(vm, usage), ({ vm }) => `${vm.started_at}.${vm.id}`))
  register(http, vmTotals, async () => {
    const [runners, projects] = [await totalsBy(db.read, 'runner'), await totalsBy(db.read, 'project')]
    return {
      asOf: clock(), total: added(runners),
      runners: grouped(runners).map(([runnerId, name, totals]) => ({ runnerId, name, ...totals })), projects: grouped(projects).map(([projectId, slug, totals]) => ({ projectId, slug, ...totals })),
    }
  })
  register(http, showVm, async ({ params }) => presentDetail(await requireVm(db.read, params.vmId), await operationsOf(db.read, params.vmId, 20)))
  register(http, vmSamples, async ({ params, query }) => {
    await requireVm(db.read, params.vmId)
    return { items: (await samplesOf(db.read, params.vmId, query.since, query.limit)).map((row) => ({ at: row.at, ...measured(row) })) }
  })

  /** Has the runner do something, and waits until it has. */
  async function perform(call: { params: { vmId: string }; principal: Principal; correlationId: string; signal: AbortSignal }, input: OperationInput, reason?: string) {
    const asked = await db.write((trx) => requestOperation(trx, deps, { vmId: call.params.vmId, input, reason, requestedBy: who(call.principal), correlationId: call.correlationId }))
    return { id: asked.operation.id, ended: () => untilEnded(deps, asked, call.signal) }
  }
  register(http, killVm, async (call) => presentOperation(await (await perform(call, { kind: 'kill', reason: call.body.reason }, call.body.reason)).ended()))
  register(http, pauseVm, async (call) => presentOperation(await (await perform(call, { kind: 'pause' }, call.body.reason)).ended()))
  register(http, resumeVm, async (call) => presentOperation(await (await perform(call, { kind: 'resume' })).ended()))

  register(http, forkVm, async (call) => {
    const { id, ended } = await perform(call, { kind: 'fork', count: call.body.count, wallMs: Math.round(call.body.minutes * 60_000) }, `${call.body.count} for ${call.body.minutes} minutes`)
    return { operation: presentOperation(await ended()), vmIds: await vmsOfWork(db.read, id) }
  })

  const awaited = new Map<string, (logs: VmLogs) => void>()
  register(http, vmLogs, async (call) => {
    let logs: VmLogs | undefined
    const { id, ended } = await perform(call, { kind: 'logs', bytes: call.query.bytes })
    awaited.set(id, (found) => { logs = found })
    try {
      await ended()
    } finally {
      awaited.delete(id)
    }
    if (!logs) throw new DomainError('vm_operation_failed', { kind: 'logs', id: call.params.vmId, problem: 'its runner gave none' })
    return logs
  })

  register(http, nextOperationsEndpoint, async ({ body, principal, signal }) => ({ operations: await nextOperations(deps, principal.id, body, signal) }))
  register(http, endOperationEndpoint, async ({ body, principal }) => {
    const operation = await operationById(db.read, body.operationId)
    if (operation?.runner_id !== principal.id) throw new DomainError('not_found', { kind: 'operation', id: body.operationId })
    if (body.logs) {
      const take = awaited.get(operation.id)
      if (!take && operation.ended_at === null) throw new DomainError('vm_operation_elsewhere', { id: operation.id })
      take?.(body.logs)
    }
    return { recorded: await db.write((trx) => reportOperation(trx, deps, operation.id, body)) }
  }, { bodyLimitBytes: LOGS_BODY_BYTES })

  const relay = createRelay()
  http.app.get<{ Params: { vmId: string } }>('/api/vms/:vmId/exec', { websocket: true, config: { access: ['person'], action: 'vm:exec', on: inParams('vm', 'vmId') } }, (socket, { params: { vmId }, principal, id: correlationId }) => {
    relay.serveClient(socket, vmId, {
      begin: async (start) => {
        const { operation } = await db.write((trx) => requestOperation(trx, deps, { vmId, input: { kind: start.kind, start }, requestedBy: who(principal), correlationId }))
        return { operationId: operation.id, runnerId: operation.runner_id }
      },
      end: async (operationId, { exitCode, failure }) => { await db.write((trx) => endOperation(trx, deps, operationId, { state: exitCode === null ? 'failed' : 'done', exitCode, failure })) },
      stillAllowed: async () => await verifyPrincipal(db.read, principal) && (await context.authorization.decide(db.read, principal, 'vm:exec', await context.authorization.resolve('vm:exec', 'vm', vmId))).outcome === 'allow',
      onFault: (err, what) => { logger.error({ err }, what) },
    })
  })
  http.app.get<{ Params: { operationId: string } }>('/operations/:operationId/stream', { websocket: true, config: { access: ['runner'] } }, (socket, { params, principal }) => {
    if (!relay.attach(params.operationId, principal.id, socket)) socket.close(STREAM_CLOSE_CODES.elsewhere, 'its client is not here')
  })
  context.stopping.addEventListener('abort', () => { relay.close() }, { once: true })

  return {
    metrics,
    async recordUsage(runnerId, usage) {
      const name = await given.runnerName(runnerId)
      await db.write((trx) => recordUsage(trx, { now: clock(), recordPause: given.recordPause, onGrowth: (growth) => { metrics.grew(name, growth) } }, runnerId, usage))
    },
    duties: [samplesDuty({ db, now: clock, days: context.config.retention.vmDays }), overdueOperationsDuty(deps)],
  }
}

const who = (principal: Principal): string => `${principal.kind} ${principal.id}${principal.tokenId === null ? '' : ` (${principal.tokenId})`}`

function added(rows: readonly TotalsRow[]): VmTotals {
  const sum = (value: (row: TotalsRow) => number): number => rows.reduce((total, row) => total + value(row), 0)
  return {
    vms: sum((row) => row.vms), measured: sum((row) => row.measured), paused: sum((row) => row.paused), cpuMillicores: sum((row) => row.cpu_millicores), rssBytes: sum((row) => row.rss_bytes), pssBytes: sum((row) => row.pss_bytes),
    scratchBytes: sum((row) => row.scratch_bytes), openForwards: sum((row) => row.open_forwards), cpuMs: sum((row) => row.cpu_ms), egressBytes: sum((row) => row.egress_bytes),
  }
}

function grouped(rows: readonly TotalsRow[]): [key: string, label: string, totals: VmTotals][] {
  return [...Map.groupBy(rows, ({ key }) => key)].map(([key, those]) => [key, those[0]?.label ?? key, added(those)])
}
