import type { AgentEvent } from '@swarm/contract/agent-protocol.ts'

/** Most characters of one text of an event: events are kept for ever and sent to everybody who looks on. */
const MOST_CHARACTERS = 64 * 1024

/** The event with its texts cut where they are longer than any well-behaved agent makes them. */
export function bounded(event: AgentEvent): AgentEvent {
  const cut = Object.entries(event).map(([key, value]) => [key, typeof value === 'string' && value.length > MOST_CHARACTERS ? `${value.slice(0, MOST_CHARACTERS)}\n[${value.length - MOST_CHARACTERS} more characters]` : value])
  return Object.fromEntries(cut) as AgentEvent
}
