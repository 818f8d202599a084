import { footprint, overlapOf, scopeProblem } from './globs.ts'
import { cycleText, findCycles, wavesOf } from './graph.ts'

export interface Epic {
  readonly key: string
  readonly title: string
  /** Ids of requirements of the spec. */
  readonly requirements: readonly string[]
  /** Keys of epics. */
  readonly dependsOn: readonly string[]
}

export interface PlanTicket {
  readonly key: string
  /** Key of the epic that it came from. */
  readonly epic: string
  readonly title: string
  readonly description: string
  readonly acceptance: readonly string[]
  readonly requirements: readonly string[]
  /** gitignore globs that its change may touch. */
  readonly scope: readonly string[]
  /** Keys of tickets that must be merged before. */
  readonly dependsOn: readonly string[]
  readonly storyPoints: number
  /** Name of a registered agent; empty for the default one. */
  readonly agent: string
}

export interface PlanFinding {
  readonly code: PlanFindingCode
  /** Errors go back to the model; warnings say what Swarm put right by itself, or what a person may want to look at. */
  readonly severity: 'error' | 'warning'
  /** Keys of tickets or epics, ids of requirements. */
  readonly place: readonly string[]
  readonly message: string
  readonly remedy: string
}
export type PlanFindingCode =
  | 'plan_empty' | 'plan_too_large' | 'duplicate_key' | 'self_dependency' | 'unknown_dependency' | 'dependency_cycle'
  | 'requirement_uncovered' | 'unknown_requirement' | 'ticket_without_acceptance' | 'ticket_without_scope' | 'scope_invalid'
  | 'ticket_oversize' | 'unknown_agent' | 'epic_ordered' | 'skeleton_ordered' | 'overlap_ordered' | 'removed_but_started'

/** Story points above which a ticket has to be split: the next step on the usual scale after 13 is "do not start this". */
export const MAX_STORY_POINTS = 13
export const MAX_TICKETS = 500

export interface PlanFacts {
  /** Ids of the spec's requirements, in order. */
  readonly requirements: readonly string[]
  /** No file of the project's own exists yet: the skeleton has to come first. */
  readonly greenfield: boolean
  /** Names of registered agents; undefined: not checked. */
  readonly agents?: readonly string[]
}

/** Mistakes in the epics: keys, order, and requirements that none of them has. */
export function skeletonFindings(epics: readonly Epic[], requirements: readonly string[]): PlanFinding[] {
  if (epics.length === 0) return [error('plan_empty', [], 'There is no epic.', 'Submit at least one epic that holds the requirements.')]
  return [...graphFindings(epics, 'epic'), ...requirementFindings(epics, requirements, 'epic')]
}

export interface CheckedPlan {
  /** With the order that was added. */
  readonly tickets: readonly PlanTicket[]
  readonly findings: readonly PlanFinding[]
  /** Keys by wave; empty while there are errors in the graph. */
  readonly waves: readonly (readonly string[])[]
}

/**
 * Checks a plan and puts in order what has one right answer: tickets of an epic behind the epics that it depends on, everything
 * behind the skeleton in a new repository, and tickets that write the same files one after the other. What has none is an
 * error finding, for the model to repair. Order is added only when the graph itself is sound.
 */
export function checkPlan(tickets: readonly PlanTicket[], epics: readonly Epic[], facts: PlanFacts): CheckedPlan {
  if (tickets.length === 0) return { tickets, waves: [], findings: [error('plan_empty', [], 'The plan has no ticket.', 'Submit at least one ticket for each requirement.')] }
  const structural = graphFindings(tickets, 'ticket')
  const findings = [...structural, ...requirementFindings(tickets, facts.requirements, 'ticket'), ...tickets.flatMap((ticket) => ticketFindings(ticket, facts))]
  if (tickets.length > MAX_TICKETS) findings.push(error('plan_too_large', [], `The plan has ${tickets.length} tickets; at most ${MAX_TICKETS} are run in one session.`, 'Merge tickets that change the same files, or split the spec.'))
  if (structural.length > 0) return { tickets, findings, waves: [] }
  const byEpic = orderEpics(tickets, epics)
  const rooted = facts.greenfield ? orderSkeleton(byEpic.tickets) : { tickets: byEpic.tickets, findings: [] }
  const apart = orderOverlaps(rooted.tickets)
  return { tickets: apart.tickets, findings: [...findings, ...byEpic.findings, ...rooted.findings, ...apart.findings], waves: wavesOf(apart.tickets) }
}

type Keyed = { readonly key: string; readonly requirements: readonly string[]; readonly dependsOn: readonly string[] }

function graphFindings(nodes: readonly Keyed[], kind: 'epic' | 'ticket'): PlanFinding[] {
  const findings: PlanFinding[] = []
  const known = new Set<string>()
  for (const { key } of nodes) {
    if (known.has(key)) findings.push(error('duplicate_key', [key], `Two ${kind}s have the key ${key}.`, `Give each ${kind} a key of its own.`))
    known.add(key)
  }
  for (const { key, dependsOn } of nodes) {
    for (const target of dependsOn) {
      if (target === key) findings.push(error('self_dependency', [key], `The ${kind} ${key} depends on itself.`, 'Remove that dependency.'))
      else if (!known.has(target)) findings.push(error('unknown_dependency', [key, target], `The ${kind} ${key} depends on ${target}, which does not exist.`, `Name the key of an existing ${kind}, or remove that dependency.`))
    }
  }
  for (const cycle of findCycles(nodes.map((node) => ({ key: node.key, dependsOn: node.dependsOn.filter((target) => target !== node.key) })))) {
    findings.push(error('dependency_cycle', cycle, `The dependencies form a cycle: ${cycleText(cycle)}.`, 'Remove one of these dependencies; move what both sides need into a ticket that comes first.'))
  }
  return findings
}

function requirementFindings(nodes: readonly Keyed[], requirements: readonly string[], kind: 'epic' | 'ticket'): PlanFinding[] {
  const known = new Set(requirements)
  const covered = new Set(nodes.flatMap((node) => node.requirements))
  return [
    ...nodes.flatMap((node) => [...new Set(node.requirements)].filter((id) => !known.has(id))
      .map((id) => error('unknown_requirement', [node.key, id], `The ${kind} ${node.key} names requirement ${id}, which the spec does not have.`, 'Use the ids of the spec exactly as they are written.'))),
    ...requirements.filter((id) => !covered.has(id))
      .map((id) => error('requirement_uncovered', [id], `No ${kind} covers requirement ${id}.`, `Add it to the ${kind} where it belongs, or add a ${kind} for it.`)),
  ]
}

function ticketFindings(ticket: PlanTicket, facts: PlanFacts): PlanFinding[] {
  const findings: PlanFinding[] = []
  if (!ticket.acceptance.some((line) => line.trim() !== '')) findings.push(error('ticket_without_acceptance', [ticket.key], `The ticket ${ticket.key} has no acceptance criteria.`, 'State what a test or a command can show when it is done.'))
  if (!ticket.scope.some((pattern) => !pattern.startsWith('!'))) findings.push(error('ticket_without_scope', [ticket.key], `The ticket ${ticket.key} names no files.`, 'List the files and globs that its change may touch, tests included.'))
  for (const pattern of ticket.scope) {
    const problem = scopeProblem(pattern)
    if (problem) findings.push(error('scope_invalid', [ticket.key, pattern], `The scope "${pattern}" of ticket ${ticket.key} cannot be used: ${problem}.`, 'Use paths and gitignore globs relative to the root of the repository.'))
  }
  if (ticket.storyPoints > MAX_STORY_POINTS) findings.push(error('ticket_oversize', [ticket.key], `The ticket ${ticket.key} has ${ticket.storyPoints} story points.`, `Split it into tickets of at most ${MAX_STORY_POINTS}.`))
  if (ticket.agent !== '' && facts.agents && !facts.agents.includes(ticket.agent)) findings.push(error('unknown_agent', [ticket.key, ticket.agent], `The ticket ${ticket.key} asks for the agent ${ticket.agent}, which is not registered.`, `Leave it out, or name one of: ${facts.agents.join(', ')}.`))
  return findings
}

interface Ordered { tickets: readonly PlanTicket[]; findings: PlanFinding[] }

/** First tickets of an epic that know nothing of an epic it depends on wait for the last tickets of that one. */
function orderEpics(tickets: readonly PlanTicket[], epics: readonly Epic[]): Ordered {
  const findings: PlanFinding[] = []
  const epicOf = new Map(tickets.map((ticket) => [ticket.key, ticket.epic]))
  const waitedFor = new Set(tickets.flatMap((ticket) => ticket.dependsOn.filter((target) => epicOf.get(target) === ticket.epic)))
  const added = new Map<string, string[]>()
  const reach = reachability(tickets)
  for (const epic of epics) {
    const entries = tickets.filter((ticket) => ticket.epic === epic.key && !ticket.dependsOn.some((target) => epicOf.get(target) === epic.key))
    for (const before of epic.dependsOn) {
      const exits = tickets.filter((ticket) => ticket.epic === before && !waitedFor.has(ticket.key)).map((ticket) => ticket.key)
      for (const entry of entries) {
        // A named dependency on that epic is the finer statement; and an edge against an existing path would close a cycle.
        if (entry.dependsOn.some((target) => epicOf.get(target) === before)) continue
        const edges = exits.filter((exit) => !reach.reaches(exit, entry.key))
        if (edges.length === 0) continue
        for (const exit of edges) reach.add(entry.key, exit)
        added.set(entry.key, [...added.get(entry.key) ?? [], ...edges])
        findings.push(warning('epic_ordered', [entry.key, ...edges], `The ticket ${entry.key} now waits for ${edges.join(', ')}, since epic ${epic.key} depends on ${before}.`))
      }
    }
  }
  return { tickets: withEdges(tickets, added), findings }
}

/** In a new repository one ticket lays the skeleton: the first of those that wait for nothing on which most others build. */
function orderSkeleton(tickets: readonly PlanTicket[]): Ordered {
  const roots = tickets.filter((ticket) => ticket.dependsOn.length === 0)
  if (roots.length < 2) return { tickets, findings: [] }
  const reach = reachability(tickets)
  const weight = (key: string): number => tickets.filter((ticket) => reach.reaches(ticket.key, key)).length
  const skeleton = roots.reduce((best, root) => (weight(root.key) > weight(best.key) ? root : best))
  const others = roots.filter((root) => root !== skeleton).map((root) => root.key)
  return {
    tickets: withEdges(tickets, new Map(others.map((key) => [key, [skeleton.key]]))),
    findings: [warning('skeleton_ordered', [skeleton.key, ...others], `The repository is new: ${others.join(', ')} now ${others.length === 1 ? 'waits' : 'wait'} for ${skeleton.key}, which lays the skeleton.`)],
  }
}

function orderOverlaps(tickets: readonly PlanTicket[]): Ordered {
  const findings: PlanFinding[] = []
  const byKey = new Map(tickets.map((ticket) => [ticket.key, ticket]))
  const ordered = wavesOf(tickets).flat().map((key) => byKey.get(key)).filter((ticket) => ticket !== undefined)
  const prints = ordered.map((ticket) => footprint(ticket.scope))
  const position = new Map(ordered.map((ticket, index) => [ticket.key, index]))
  // Bit i of `before[j]` says that ticket i is merged before ticket j starts.
  const before: bigint[] = []
  const added = new Map<string, string[]>()
  for (const [later, ticket] of ordered.entries()) {
    let mask = 0n
    for (const target of ticket.dependsOn) {
      const at = position.get(target)
      if (at !== undefined) mask |= (before[at] ?? 0n) | (1n << BigInt(at))
    }
    // From the nearest back: an edge to it often implies the ones further back.
    for (let earlier = later - 1; earlier >= 0; earlier--) {
      if ((mask >> BigInt(earlier)) & 1n) continue
      const shared = overlapOf(prints[earlier] ?? [], prints[later] ?? [])
      const first = ordered[earlier]
      if (!shared || !first) continue
      mask |= (before[earlier] ?? 0n) | (1n << BigInt(earlier))
      added.set(ticket.key, [...added.get(ticket.key) ?? [], first.key])
      const file = (shared[0] === shared[1] ? shared[0] : `${shared[0]} and ${shared[1]}`).replaceAll(/(^| )\//g, '$1')
      findings.push(warning('overlap_ordered', [first.key, ticket.key], `The tickets ${first.key} and ${ticket.key} both write ${file}: ${ticket.key} now waits for ${first.key}.`))
    }
    before.push(mask)
  }
  return { tickets: withEdges(tickets, added), findings }
}

function withEdges(tickets: readonly PlanTicket[], added: ReadonlyMap<string, readonly string[]>): readonly PlanTicket[] {
  return tickets.map((ticket) => (added.has(ticket.key) ? { ...ticket, dependsOn: [...new Set([...ticket.dependsOn, ...added.get(ticket.key) ?? []])] } : ticket))
}

function reachability(tickets: readonly PlanTicket[]): { reaches(from: string, to: string): boolean; add(from: string, to: string): void } {
  const edges = new Map(tickets.map((ticket) => [ticket.key, [...ticket.dependsOn]]))
  return {
    reaches(from, to) {
      const seen = new Set([from])
      const queue = [from]
      for (let key = queue.pop(); key !== undefined; key = queue.pop()) {
        if (key === to) return true
        for (const target of edges.get(key) ?? []) if (!seen.has(target)) { seen.add(target); queue.push(target) }
      }
      return false
    },
    add(from, to) { edges.get(from)?.push(to) },
  }
}

function error(code: PlanFindingCode, place: readonly string[], message: string, remedy: string): PlanFinding {
  return { code, severity: 'error', place, message, remedy }
}
function warning(code: PlanFindingCode, place: readonly string[], message: string): PlanFinding {
  return { code, severity: 'warning', place, message, remedy: 'Nothing to do; ask for a revision if another order is wanted.' }
}
