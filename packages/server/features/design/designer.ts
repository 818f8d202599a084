import { DomainError } from '@swarm/core/errors.ts'
import { joinedPlan, leftBehind, touchedBy, type PlanBase, type SpecChanges } from '@swarm/core/design/changes.ts'
import { takeChunk, type DesignRequest } from '@swarm/core/design/chunks.ts'
import { wavesOf } from '@swarm/core/design/graph.ts'
import { mergeEpics, mergeTickets, patched, spelledAs } from '@swarm/core/design/merge.ts'
import { checkPlan, skeletonFindings, type CheckedPlan, type Epic, type PlanFinding, type PlanTicket } from '@swarm/core/design/plan.ts'
import { expandRequest, repairRequest, skeletonRequest, widen, type DesignContext, type RepairItem } from '@swarm/core/design/requests.ts'
import type { Requirement } from '@swarm/core/design/spec.ts'
import { shorten, utf8Bytes } from '@swarm/core/design/text.ts'
import { EpicRepairAnswer, ExpandAnswer, SkeletonAnswer, TicketRepairAnswer } from './answers.ts'
import type { Ask } from './steps.ts'

/** Rounds in which the model may repair what validation found. */
export const MAX_REPAIR_ROUNDS = 2
/** So that the tickets of one answer stay well below what a model writes in one go. */
const MAX_REQUIREMENTS_PER_EXPANSION = 40

export interface Designed extends CheckedPlan { readonly epics: readonly Epic[] }

/** A plan that exists, and what a new version of the spec changes. */
export interface Replanning { readonly base: PlanBase; readonly changes: SpecChanges; /** Of the new version: part of the names of steps. */ readonly version: number }

/**
 * Spec → epics → tickets → checked plan. Every request is a function of the context and the answers before it, so a run that
 * is repeated asks the same, and finds it in the journal.
 *
 * Steps: `skeleton`, `skeleton:2`…; `expand:<epic>`, `expand:<epic>:2`…; `repair:skeleton:<round>` and `repair:<round>`, with
 * `:2`… where a round needs several requests.
 * @throws DomainError plan_invalid {rounds, findings}, token_cap_too_small, design_answer_malformed, and what `ask` throws
 */
export async function designPlan(context: DesignContext, ask: Ask): Promise<Designed> {
  const epics = await skeleton(context, ask, { epics: [], requirements: context.spec.requirements, suffix: '' })
  return settled(context, await expand(context, epics, ask), epics, ask, { suffix: '', started: new Map() })
}

/**
 * The plan of a new version: what the version does not touch stays as it is and is not asked for; what it touches is planned
 * again, epic by epic. Steps are named as in `designPlan`, with `@<version>` behind the name: `skeleton@3` for requirements that
 * are new, `expand:<epic>@3`, `repair@3:<round>`.
 */
export async function replanPlan(context: DesignContext, { base, changes, version }: Replanning, ask: Ask): Promise<Designed & { readonly kept: readonly string[]; readonly dropped: readonly string[] }> {
  const suffix = `@${version}`
  const touched = touchedBy(base, changes, context.spec.requirements.map(({ id }) => id))
  const fresh = new Set(changes.added.map(({ id }) => id))
  const epics = await skeleton(context, ask, { epics: touched.epics, requirements: context.spec.requirements.filter(({ id }) => fresh.has(id)), suffix })
  // Names that are taken stand in front while answers are joined, and go again.
  const reserved = base.taken.filter((key) => !touched.kept.some((ticket) => ticket.key === key)).map((key): PlanTicket => ({ key, epic: '', title: '', description: '', acceptance: [], requirements: [], scope: [], dependsOn: [], storyPoints: 0, agent: '' }))
  const before = [...touched.kept, ...reserved]
  let joined: PlanTicket[] = before
  const open = new Set(touched.open)
  const byKey = new Map(epics.map((epic) => [epic.key, epic]))
  for (const key of wavesOf(epics).flat()) {
    const epic = byKey.get(key)
    const ids = epic?.requirements.filter((id) => open.has(id)) ?? []
    if (!epic || ids.length === 0) continue
    const built = touched.outdated.filter(({ requirements }) => requirements.some((id) => ids.includes(id))).flatMap(({ lines }) => lines)
    const known = joined.filter((ticket) => ticket.epic !== '')
    joined = mergeTickets(joined, await expandEpic(context, { ...epic, requirements: ids }, known, ask, { suffix, built }))
  }
  const tickets = joinedPlan(touched, joined.slice(before.length))
  const started = new Map(tickets.filter(({ key }) => base.started.includes(key)).map((ticket) => [ticket.key, ticket]))
  const plan = await settled(context, tickets, epics, ask, { suffix, started })
  return { ...plan, findings: [...plan.findings, ...leftBehind(touched, changes)], kept: touched.kept.map(({ key }) => key), dropped: touched.dropped.map(({ key }) => key).filter((key) => !plan.tickets.some((ticket) => ticket.key === key)) }
}

/** Checks a plan and has it repaired until it is sound. Tickets that are started stay as they are, whatever a repair says. */
async function settled(context: DesignContext, planned: readonly PlanTicket[], epics: readonly Epic[], ask: Ask, { suffix, started }: { suffix: string; started: ReadonlyMap<string, PlanTicket> }): Promise<Designed> {
  let tickets = planned
  const facts = { requirements: context.spec.requirements.map(({ id }) => id), greenfield: context.analysis.greenfield, agents: context.agents }
  for (let round = 1; ; round++) {
    const checked = checkPlan(tickets, epics, facts)
    const errors = checked.findings.filter((finding) => finding.severity === 'error')
    if (errors.length === 0) return { ...asStarted(checked, started), epics }
    refuseAfter(round, errors)
    for (const { step, request } of repairs(context, `repair${suffix}:${round}`, 'tickets', errors, tickets)) {
      const answer = await ask(step, request, TicketRepairAnswer)
      const repaired = patched<PlanTicket>(tickets, answer.tickets.map((change) => ({ ...change, ...(change.requirements ? { requirements: spelled(context, change.requirements) } : {}) })), answer.remove, (change) => ({
        key: change.key, epic: epicFor(change.requirements ?? [], epics), title: change.title ?? change.key, description: change.description ?? '', acceptance: change.acceptance ?? [],
        requirements: change.requirements ?? [], scope: change.scope ?? [], dependsOn: change.dependsOn ?? [], storyPoints: change.storyPoints ?? 3, agent: change.agent ?? '',
      }))
      tickets = [...started.values(), ...repaired.filter(({ key }) => !started.has(key))]
    }
  }
}

/** Order that was added for tickets that run already is taken back: they wait for nothing any more. */
function asStarted(checked: CheckedPlan, started: ReadonlyMap<string, PlanTicket>): CheckedPlan {
  if (started.size === 0) return checked
  const tickets = checked.tickets.map((ticket) => started.get(ticket.key) ?? ticket)
  const waits = ({ code, place }: PlanFinding): string | undefined => (code === 'overlap_ordered' ? place[1] : code === 'epic_ordered' ? place[0] : undefined)
  return { tickets, waves: wavesOf(tickets), findings: checked.findings.filter((finding) => !started.has(waits(finding) ?? '')) }
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

/** Epics for these requirements, beside or within those that exist. */
async function skeleton(context: DesignContext, ask: Ask, from: { epics: readonly Epic[]; requirements: readonly Requirement[]; suffix: string }): Promise<readonly Epic[]> {
  let epics: readonly Epic[] = from.epics
  let rest = from.requirements
  for (let number = 1; rest.length > 0; number++) {
    const step = `skeleton${from.suffix}${number === 1 ? '' : `:${number}`}`
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
    for (const { step, request } of repairs(context, `repair:skeleton${from.suffix}:${round}`, 'epics', errors, epics)) {
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
    if (epic) tickets = mergeTickets(tickets, await expandEpic(context, epic, tickets, ask, { suffix: '', built: [] }))
  }
  return tickets
}

async function expandEpic(context: DesignContext, epic: Epic, known: readonly PlanTicket[], ask: Ask, { suffix, built }: { suffix: string; built: readonly string[] }): Promise<PlanTicket[]> {
  const ids = new Set(epic.requirements)
  // What the epic builds on stands last, since the front is what is left out when there is no room.
  const ordered = [...known].sort((one, two) => Number(epic.dependsOn.includes(one.epic)) - Number(epic.dependsOn.includes(two.epic)))
  let tickets: PlanTicket[] = []
  let rest: readonly Requirement[] = context.spec.requirements.filter(({ id }) => ids.has(id))
  for (let number = 1; number === 1 || rest.length > 0; number++) {
    const step = `expand:${epic.key}${suffix}${number === 1 ? '' : `:${number}`}`
    const existing = [...ordered, ...tickets]
    const fit = takeChunk(rest, context.cap, (items, detail) => expandRequest(context, step, epic, items, existing, detail, built), { what: whatOf, limit: MAX_REQUIREMENTS_PER_EXPANSION })
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
