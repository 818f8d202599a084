import { DomainError } from '@swarm/core/errors.ts'
import { takeChunk, type DesignRequest } from '@swarm/core/design/chunks.ts'
import { wavesOf } from '@swarm/core/design/graph.ts'
import { mergeEpics, mergeTickets, patched, spelledAs } from '@swarm/core/design/merge.ts'
import { checkPlan, skeletonFindings, type CheckedPlan, type Epic, type PlanFinding, type PlanTicket } from '@swarm/core/design/plan.ts'
import { expandRequest, repairRequest, skeletonRequest, widen, type DesignContext, type RepairItem } from '@swarm/core/design/requests.ts'
import type { Requirement } from '@swarm/core/design/spec.ts'
import { shorten, utf8Bytes } from '@swarm/core/design/text.ts'
import type { z } from 'zod'
import { EpicRepairAnswer, ExpandAnswer, SkeletonAnswer, TicketRepairAnswer } from './answers.ts'

/** Asks the model, or the journal when this very request was answered before. */
export type Ask = <T extends z.ZodType>(step: string, request: DesignRequest, schema: T) => Promise<z.output<T>>

/** Rounds in which the model may repair what validation found. */
export const MAX_REPAIR_ROUNDS = 2
/** So that the tickets of one answer stay well below what a model writes in one go. */
const MAX_REQUIREMENTS_PER_EXPANSION = 40

export interface Designed extends CheckedPlan { readonly epics: readonly Epic[] }

/**
 * Spec → epics → tickets → checked plan. Every request is a function of the context and the answers before it, so a run that
 * is repeated asks the same, and finds it in the journal.
 *
 * Steps: `skeleton`, `skeleton:2`…; `expand:<epic>`, `expand:<epic>:2`…; `repair:skeleton:<round>` and `repair:<round>`, with
 * `:2`… where a round needs several requests.
 * @throws DomainError plan_invalid {rounds, findings}, token_cap_too_small, design_answer_malformed, and what `ask` throws
 */
export async function designPlan(context: DesignContext, ask: Ask): Promise<Designed> {
  const epics = await skeleton(context, ask)
  let tickets = await expand(context, epics, ask)
  const facts = { requirements: context.spec.requirements.map(({ id }) => id), greenfield: context.analysis.greenfield, agents: context.agents }
  for (let round = 1; ; round++) {
    const checked = checkPlan(tickets, epics, facts)
    const errors = checked.findings.filter((finding) => finding.severity === 'error')
    if (errors.length === 0) return { ...checked, epics }
    refuseAfter(round, errors)
    for (const { step, request } of repairs(context, `repair:${round}`, 'tickets', errors, tickets)) {
      const answer = await ask(step, request, TicketRepairAnswer)
      tickets = patched<PlanTicket>(tickets, answer.tickets.map((change) => ({ ...change, ...(change.requirements ? { requirements: spelled(context, change.requirements) } : {}) })), answer.remove, (change) => ({
        key: change.key, epic: epicFor(change.requirements ?? [], epics), title: change.title ?? change.key, description: change.description ?? '', acceptance: change.acceptance ?? [],
        requirements: change.requirements ?? [], scope: change.scope ?? [], dependsOn: change.dependsOn ?? [], storyPoints: change.storyPoints ?? 3, agent: change.agent ?? '',
      }))
    }
  }
}

/**
 * Finds out before anything is paid whether the largest requirement fits under the cap by itself.
 * @throws DomainError token_cap_too_small {cap, needed, what}
 */
export function assertFits(context: DesignContext): void {
  const epic: Epic = { key: 'e'.repeat(63), title: 'e'.repeat(120), requirements: [], dependsOn: [] }
  const size = (requirement: Requirement): number => utf8Bytes(JSON.stringify([requirement.id, requirement.text]))
  const largest = context.spec.requirements.reduce((most, requirement) => (size(requirement) > size(most) ? requirement : most))
  takeChunk([largest], context.cap, (items, detail) => skeletonRequest(context, 'skeleton:999', items, [epic], detail), { what: whatOf })
  takeChunk([largest], context.cap, (items, detail) => expandRequest(context, `expand:${epic.key}:999`, epic, items, [], detail), { what: whatOf })
}

async function skeleton(context: DesignContext, ask: Ask): Promise<Epic[]> {
  let epics: Epic[] = []
  let rest: readonly Requirement[] = context.spec.requirements
  for (let number = 1; rest.length > 0; number++) {
    const step = number === 1 ? 'skeleton' : `skeleton:${number}`
    const known = epics
    const fit = takeChunk(rest, context.cap, (items, detail) => skeletonRequest(context, step, items, known, detail), { what: whatOf })
    const answer = await ask(step, widen(fit.request, context.cap), SkeletonAnswer)
    epics = mergeEpics(epics, answer.epics.map((epic) => ({ ...epic, requirements: spelled(context, epic.requirements) })))
    rest = fit.rest
  }
  const ids = context.spec.requirements.map(({ id }) => id)
  for (let round = 1; ; round++) {
    const errors = skeletonFindings(epics, ids)
    if (errors.length === 0) return epics
    refuseAfter(round, errors)
    for (const { step, request } of repairs(context, `repair:skeleton:${round}`, 'epics', errors, epics)) {
      const answer = await ask(step, request, EpicRepairAnswer)
      epics = patched<Epic>(epics, answer.epics.map((change) => ({ ...change, ...(change.requirements ? { requirements: spelled(context, change.requirements) } : {}) })), answer.remove,
        (change) => ({ key: change.key, title: change.title ?? change.key, requirements: change.requirements ?? [], dependsOn: change.dependsOn ?? [] }))
    }
  }
}

/** One epic after the other: each sees the keys before it, and a crash loses at most the one answer that is on its way. */
async function expand(context: DesignContext, epics: readonly Epic[], ask: Ask): Promise<PlanTicket[]> {
  const byKey = new Map(epics.map((epic) => [epic.key, epic]))
  let tickets: PlanTicket[] = []
  for (const key of wavesOf(epics).flat()) {
    const epic = byKey.get(key)
    if (epic) tickets = mergeTickets(tickets, await expandEpic(context, epic, tickets, ask))
  }
  return tickets
}

async function expandEpic(context: DesignContext, epic: Epic, known: readonly PlanTicket[], ask: Ask): Promise<PlanTicket[]> {
  const ids = new Set(epic.requirements)
  // What the epic builds on stands last, since the front is what is left out when there is no room.
  const ordered = [...known].sort((one, two) => Number(epic.dependsOn.includes(one.epic)) - Number(epic.dependsOn.includes(two.epic)))
  let tickets: PlanTicket[] = []
  let rest: readonly Requirement[] = context.spec.requirements.filter(({ id }) => ids.has(id))
  for (let number = 1; number === 1 || rest.length > 0; number++) {
    const step = number === 1 ? `expand:${epic.key}` : `expand:${epic.key}:${number}`
    const existing = [...ordered, ...tickets]
    const fit = takeChunk(rest, context.cap, (items, detail) => expandRequest(context, step, epic, items, existing, detail), { what: whatOf, limit: MAX_REQUIREMENTS_PER_EXPANSION })
    const answer = await ask(step, widen(fit.request, context.cap), ExpandAnswer)
    tickets = mergeTickets(tickets, answer.tickets.map((ticket) => ({ ...ticket, epic: epic.key, requirements: spelled(context, ticket.requirements) })))
    rest = fit.rest
  }
  return tickets
}

function* repairs(context: DesignContext, name: string, kind: 'epics' | 'tickets', errors: readonly PlanFinding[], entries: readonly (Epic | PlanTicket)[]): Generator<{ step: string; request: DesignRequest }> {
  const byKey = new Map(entries.map((entry) => [entry.key, entry]))
  const requirements = new Map(context.spec.requirements.map((requirement) => [requirement.id, requirement]))
  const items = errors.map((finding): RepairItem => ({
    finding,
    about: [...new Set(finding.place)].flatMap((place) => byKey.get(place) ?? []),
    requirements: finding.code === 'requirement_uncovered' ? finding.place.flatMap((place) => requirements.get(place) ?? []) : [],
  }))
  const keys = entries.map((entry) => entry.key)
  let rest: readonly RepairItem[] = items
  for (let number = 1; rest.length > 0; number++) {
    const step = number === 1 ? name : `${name}:${number}`
    const fit = takeChunk(rest, context.cap, (some, detail) => repairRequest(context, step, kind, some, keys, detail), { what: (item) => `repairing "${shorten(item?.finding.message ?? '', 80)}"` })
    yield { step, request: widen(fit.request, context.cap) }
    rest = fit.rest
  }
}

function refuseAfter(round: number, errors: readonly PlanFinding[]): void {
  if (round <= MAX_REPAIR_ROUNDS) return
  throw new DomainError('plan_invalid', {
    rounds: MAX_REPAIR_ROUNDS, findings: shorten(errors.map(({ message }) => message).join(' '), 2_000),
    codes: [...new Set(errors.map(({ code }) => code))], places: errors.slice(0, 20).map(({ place }) => place),
  })
}

/** The epic that has most of these requirements. */
function epicFor(requirements: readonly string[], epics: readonly Epic[]): string {
  const count = (epic: Epic): number => epic.requirements.filter((id) => requirements.includes(id)).length
  return epics.reduce((best, epic) => (count(epic) > count(best) ? epic : best)).key
}

function spelled(context: DesignContext, ids: readonly string[]): string[] {
  return spelledAs(ids, context.spec.requirements.map(({ id }) => id))
}

function whatOf(requirement: Requirement | undefined): string {
  return requirement ? `requirement ${requirement.id} (line ${requirement.line})` : 'an epic'
}
