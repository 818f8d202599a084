import { COVERAGE_AREAS } from '@swarm/core/design/clarify.ts'
import { LiteralText, type Expectation, type Scene, type Script, type Turn } from './script.ts'
import { stableId, type AnswerBlock, type Asking, type MessagesRequest } from './call.ts'

/** A turn of a scene, found for a call. `place` names it in messages and counts its faults. */
export interface Found {
  sceneIndex: number
  scene: Scene
  turn: Turn
  place: string
}

/** Why no turn answers this call: no scene fits, or the fitting one has no more turns. */
export interface NotFound { reason: string }

const any = (wanted: string | string[] | undefined, actual: string): boolean => wanted === undefined || (Array.isArray(wanted) ? wanted.includes(actual) : wanted === actual)

function attemptFits(wanted: Scene['attempt'], attempt: number): boolean {
  if (wanted === undefined) return true
  if (typeof wanted === 'number') return wanted === attempt
  if (typeof wanted === 'string') return attempt >= Number.parseInt(wanted, 10)
  return wanted.includes(attempt)
}

function fits(scene: Scene, asking: Asking): boolean {
  return any(scene.role, asking.role) && any(scene.ticket, asking.ticketKey)
    && (scene.title === undefined || new RegExp(scene.title, 'i').test(asking.ticketTitle))
    && attemptFits(scene.attempt, asking.attempt)
    && (scene.step === undefined || (typeof scene.step === 'string' ? scene.step === asking.step : new RegExp(scene.step.matches).test(asking.step)))
}

/** What a script that says nothing about clarification answers to it: everything is clear, so nothing is asked. Scripts are about specs that are whole. */
const CONTENT_TURN: Turn = { tools: [], expect: [], delay: 0, json: { coverage: Object.fromEntries(COVERAGE_AREAS.map((area) => [area, 100])), acknowledgement: '', question: null } }
const CONTENT: Scene = { expect: [], turns: [CONTENT_TURN], optional: true }

/** The first scene in file order that fits the call, and its turn for this point of the conversation. */
export function findTurn(script: Script, asking: Asking): Found | NotFound {
  const sceneIndex = script.scenes.findIndex((scene) => fits(scene, asking))
  const scene = script.scenes[sceneIndex]
  if (!scene && asking.role === 'designer' && /^clarify:\d+$/.test(asking.step)) return { sceneIndex, scene: CONTENT, turn: CONTENT_TURN, place: `built in, ${asking.step}` }
  if (!scene) {
    return { reason: `no scene answers ${describeAsking(asking)}. Add one under "scenes:", e.g.\n${exampleScene(asking)}` }
  }
  const turn = scene.turns[asking.turn]
  if (!turn) {
    return { reason: `scene ${sceneIndex + 1} has ${scene.turns.length} turns, and turn ${asking.turn + 1} was asked for by ${describeAsking(asking)}. Add a turn to it; the last one is usually "finish: …".` }
  }
  return { sceneIndex, scene, turn, place: `scene ${sceneIndex + 1}, ${asking.ticketKey || asking.ticketId || asking.step || asking.role || 'anyone'}, attempt ${asking.attempt}, turn ${asking.turn + 1}` }
}

export function describeAsking(asking: Asking): string {
  const parts = [
    ['role', asking.role], ['ticket', asking.ticketKey], ['title', asking.ticketTitle], ['attempt', String(asking.attempt)], ['step', asking.step],
  ].filter(([, value]) => value !== '')
  return `a call with ${parts.map(([name, value]) => `${name} ${JSON.stringify(value)}`).join(', ')}`
}

function exampleScene(asking: Asking): string {
  const lines = [`  - role: ${JSON.stringify(asking.role || 'developer')}`]
  if (asking.ticketKey) lines.push(`    ticket: ${JSON.stringify(asking.ticketKey)}`)
  if (asking.step) lines.push(`    step: ${JSON.stringify(asking.step)}`)
  lines.push('    turns:', asking.step ? '      - json: { … }' : '      - finish: what was done')
  return lines.join('\n')
}

/** The expectations of a turn that the request does not meet, each as a sentence. */
export function unmetExpectations(found: Found, asking: Asking): string[] {
  return [...found.scene.expect, ...found.turn.expect].flatMap((expectation) => {
    const problem = unmet(expectation, asking.text)
    return problem === null ? [] : [problem]
  })
}

function unmet(expectation: Expectation, text: string): string | null {
  if (typeof expectation === 'string') return text.includes(expectation) ? null : `the request should contain ${JSON.stringify(expectation)}`
  if ('matches' in expectation) return new RegExp(expectation.matches, 'm').test(text) ? null : `the request should match /${expectation.matches}/`
  return text.includes(expectation.not) ? `the request should not contain ${JSON.stringify(expectation.not)}` : null
}

/** Makes the content of the answer: text first, then tools, submit, ask_human and finish, with variables filled in. */
export function answerBlocks(turn: Turn, request: MessagesRequest, asking: Asking): AnswerBlock[] {
  const calls: Array<{ name: string; input: Record<string, unknown> }> = turn.tools.map((tool) => ({ name: tool.name, input: tool.input }))
  if (turn.json) calls.push({ name: 'submit', input: turn.json })
  if (turn.ask !== undefined) calls.push({ name: 'ask_human', input: typeof turn.ask === 'string' ? { question: turn.ask, options: [] } : turn.ask })
  if (turn.finish !== undefined) calls.push({ name: 'finish', input: { summary: turn.finish } })
  const blocks: AnswerBlock[] = []
  if (turn.say !== undefined) blocks.push({ type: 'text', text: fillIn(turn.say, asking) })
  calls.forEach((call, i) => blocks.push({ type: 'tool_use', id: stableId('toolu', request, String(i)), name: call.name, json: JSON.stringify(fillValue(call.input, asking)) }))
  return blocks
}

/** Breaks the JSON of the first tool input: it ends in the middle, as when a model's output goes wrong. */
export function malform(blocks: readonly AnswerBlock[]): AnswerBlock[] {
  let broken = false
  return blocks.map((block) => {
    if (block.type !== 'tool_use' || broken) return block
    broken = true
    return { ...block, json: block.json.slice(0, Math.max(1, Math.floor(block.json.length / 2))) }
  })
}

const variables = (asking: Asking): Readonly<Record<string, string>> => ({
  'ticket.id': asking.ticketId, 'ticket.key': asking.ticketKey, 'ticket.title': asking.ticketTitle,
  role: asking.role, attempt: String(asking.attempt), step: asking.step, lastResult: asking.lastResult,
})

/** Fills in `{{name}}` for the known names; every other `{{…}}` is text of the file that is being written, and stays. */
function fillIn(text: string, asking: Asking): string {
  const known = variables(asking)
  return text.replace(/\{\{\s*([\w.]+)\s*\}\}/g, (whole, name: string) => known[name] ?? whole)
}

function fillValue(value: unknown, asking: Asking): unknown {
  if (typeof value === 'string') return fillIn(value, asking)
  if (value instanceof LiteralText) return value.text
  if (Array.isArray(value)) return value.map((item: unknown) => fillValue(item, asking))
  if (typeof value === 'object' && value !== null) return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fillValue(item, asking)]))
  return value
}
