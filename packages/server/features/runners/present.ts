import type { Runner, RunnerDetail } from '@swarm/contract/endpoints/runners.ts'
import type { Selectable } from 'kysely'
import type { z } from 'zod'
import type { VisibleProjects } from '../../authorization/authorization.ts'
import { dayOf } from '../../db/days.ts'
import type { RunnersTable, VmsTable } from '../../db/schema.ts'
import { isOnline } from './administration.ts'
import type { HeldWork } from './queries.ts'

export function presentRunner(row: Selectable<RunnersTable>, now: number): z.output<typeof Runner> {
  return {
    id: row.id, name: row.name, driver: row.driver, isolates: row.isolates === null ? null : row.isolates === 1, capacity: row.capacity, online: isOnline(row, now), noRoom: row.no_room,
    draining: row.draining_at === null ? null : { since: row.draining_at, by: row.draining_by ?? '', reason: row.draining_reason ?? '' }, seenAt: row.seen_at, createdAt: row.created_at,
  }
}

export function presentDetail({ runner, now, visible, boots, held, vms, ended }: {
  runner: Selectable<RunnersTable>; now: number; visible: VisibleProjects; boots: readonly { boot_id: string; created_at: number }[]; held: readonly HeldWork[]
  vms: readonly Selectable<VmsTable>[]; ended: readonly { day: number; reason: string | null; vms: number }[]
}): RunnerDetail {
  const count = (state: string, paused: boolean): number => vms.filter((vm) => vm.state === state && (vm.paused === 1) === paused).length
  return {
    ...presentRunner(runner, now),
    boots: boots.map(({ boot_id, created_at }) => ({ bootId: boot_id, current: boot_id === runner.boot_id, at: created_at })),
    holds: held.filter(({ project_id }) => visible === 'all' || visible.includes(project_id))
      .map((work) => ({ kind: work.kind, id: work.id, ticketId: work.ticket_id, projectId: work.project_id, vmId: work.vm_id, since: work.since, leaseExpiresAt: work.lease_expires_at })),
    held: held.length,
    vms: { starting: count('starting', false), running: count('running', false), paused: count('running', true) },
    ended: ended.map(({ day, reason, vms: number }) => ({ day: dayOf(day), reason: reason ?? 'unknown', vms: number })),
  }
}
