import type { Client } from '@swarm/contract/client.ts'
import { listChanges, type Change } from '@swarm/contract/endpoints/changes.ts'
import { listChecks, type CheckRun } from '@swarm/contract/endpoints/checks.ts'
import { repositoryHead } from '@swarm/contract/endpoints/repositories.ts'
import { listVms, type MicroVm } from '@swarm/contract/endpoints/runners.ts'
import { showTicket, type Attempt, type Ticket } from '@swarm/contract/endpoints/tickets.ts'
import type { z } from 'zod'
import { duration, money, table } from '../io.ts'
import type { BuildEnd } from './build.ts'
import { all, type Target } from './target.ts'

/** The object that `swarm run --json` and `swarm demo --json` end with. */
export interface Summary extends Record<string, unknown> {
  readonly model: string
  readonly driver: string
  readonly tickets: readonly { readonly id: string; readonly title: string; readonly state: string; readonly attempts: number; readonly changes: number; readonly vmIds: readonly string[]; readonly wallMs: number }[]
  readonly merged: number
  /** Whether the tree that main's head has passed its checks. */
  readonly mainGreen: boolean
  readonly gateFindings: number
  /** The bare repository that holds the result. */
  readonly repository: string
  readonly head: string
  readonly vms: { readonly started: number; readonly peak: number; readonly leaked: number }
  readonly costMicroUsd: number
  /** Image, template and start of the platform. */
  readonly setupMs: number
  /** The run itself, from handing in the spec to the last proof. */
  readonly wallMs: number
}

type Vm = z.output<typeof MicroVm>

export interface Facts {
  readonly end: BuildEnd
  readonly histories: ReadonlyMap<string, readonly Attempt[]>
  readonly checks: readonly CheckRun[]
  readonly changes: readonly Change[]
  readonly vms: readonly Vm[]
  readonly head: { readonly sha: string; readonly tree: string }
}

/** Reads from the server what a session came to. */
export async function readFacts(client: Client, target: Target, end: BuildEnd): Promise<Facts> {
  const ids = new Set(end.tickets.map(({ id }) => id))
  const histories = new Map<string, readonly Attempt[]>()
  for (const { id } of end.tickets) histories.set(id, (await client.call(showTicket, { params: { ticketId: id } })).history)
  const [checks, changes, { items: vms }, head] = await Promise.all([
    all((cursor) => client.call(listChecks, { query: { repositoryId: target.repository.id, limit: 200, ...cursor } })),
    all((cursor) => client.call(listChanges, { query: { projectId: target.projectId, limit: 200, ...cursor } })),
    client.call(listVms, { query: { projectId: target.projectId, limit: 1000 } }),
    client.call(repositoryHead, { params: { repositoryId: target.repository.id } }),
  ])
  return {
    end, histories, head, checks, changes: changes.filter(({ ticketId }) => ids.has(ticketId)),
    vms: vms.filter((vm) => (vm.ticketId === null ? vm.startedAt >= end.session.createdAt : ids.has(vm.ticketId))),
  }
}

export function summarise(facts: Facts, about: { model: string; driver: string; repository: string; leaked: number; setupMs: number; wallMs: number }): Summary {
  const { end, histories, checks, changes, vms, head } = facts
  return {
    model: about.model, driver: about.driver,
    tickets: end.tickets.map((ticket) => ({
      id: ticket.id, title: ticket.title, state: ticket.state, attempts: ticket.attempts, changes: changes.filter(({ ticketId }) => ticketId === ticket.id).length,
      vmIds: vms.filter(({ ticketId }) => ticketId === ticket.id).map(({ id }) => id).reverse(), wallMs: wallOf(ticket, histories.get(ticket.id) ?? []),
    })),
    merged: end.tickets.filter(({ state }) => state === 'done').length,
    mainGreen: checks.some((run) => run.treeSha === head.tree && run.state === 'passed'),
    gateFindings: [...histories.values()].flat().reduce((sum, attempt) => sum + (attempt.evidence?.findings.length ?? 0), 0),
    repository: about.repository, head: head.sha,
    vms: { started: vms.length, peak: peakOf(vms), leaked: about.leaked },
    costMicroUsd: end.session.costMicroUsd + end.tickets.reduce((sum, ticket) => sum + ticket.costMicroUsd, 0),
    setupMs: Math.round(about.setupMs), wallMs: Math.round(about.wallMs),
  }
}

/** The table that a person gets: ticket, agent, VM, attempts, checks, change, time, cost. */
export function summaryTable(facts: Facts): string {
  const { end, histories, checks, changes, vms } = facts
  return table(['ticket', 'title', 'state', 'agent', 'VM', 'attempts', 'checks', 'change', 'time', 'cost'], end.tickets.map((ticket) => {
    const history = histories.get(ticket.id) ?? []
    const runs = checks.filter(({ ticketId }) => ticketId === ticket.id)
    const passed = runs.filter(({ state }) => state === 'passed').length
    const change = changes.find(({ ticketId }) => ticketId === ticket.id)
    const own = vms.filter(({ ticketId }) => ticketId === ticket.id)
    return [
      ticket.id, ticket.title.length > 34 ? `${ticket.title.slice(0, 33)}…` : ticket.title, ticket.state, ticket.agent, own.length === 0 ? '-' : `${own[0]?.id ?? ''}${own.length > 1 ? ` +${own.length - 1}` : ''}`,
      ticket.attempts, `${passed}/${runs.length} passed`, change ? `${change.id} ${change.state}` : '-', duration(wallOf(ticket, history)), money(ticket.costMicroUsd),
    ]
  }))
}

/** From the first claim to the last change of state, ms. */
function wallOf(ticket: Ticket, history: readonly Attempt[]): number {
  const first = history[0]
  return first ? Math.max(0, ticket.updatedAt - first.createdAt) : 0
}

/** Most microVMs that existed at one moment. */
export function peakOf(vms: readonly Pick<Vm, 'startedAt' | 'endedAt'>[]): number {
  const edges = vms.flatMap(({ startedAt, endedAt }) => [{ at: startedAt, by: 1 }, ...(endedAt === null ? [] : [{ at: endedAt, by: -1 }])])
  edges.sort((a, b) => a.at - b.at || a.by - b.by)
  let [now, peak] = [0, 0]
  for (const { by } of edges) {
    now += by
    peak = Math.max(peak, now)
  }
  return peak
}
