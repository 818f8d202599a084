import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { isMap, isNode, isPair, LineCounter, parseDocument, type Document } from 'yaml'
import { z } from 'zod'

/*
 * The rehearsal script: what the rehearsal model answers, to whom, and how it fails. docs/rehearsal.md is its manual; a
 * change here is a change there. JSON is read by the same parser, being a subset of YAML.
 */

const times = z.number().int().positive().default(1).describe('how many calls of this turn meet the fault before it is answered properly')

export const Expectation = z.union([
  z.string().min(1),
  z.strictObject({ matches: regex() }),
  z.strictObject({ not: z.string().min(1) }),
])
export type Expectation = z.infer<typeof Expectation>

const ToolCall = z.strictObject({
  name: z.string().min(1),
  input: z.record(z.string(), z.unknown()).default({}),
  /** Path beside the script whose text becomes `input.content` (not filled in with variables). */
  contentFrom: z.string().min(1).optional(),
})

const Turn = z.strictObject({
  say: z.string().optional(),
  tools: z.array(ToolCall).default([]),
  /** Input of a call of the tool `submit`: the answer of a design call. */
  json: z.record(z.string(), z.unknown()).optional(),
  jsonFrom: z.string().min(1).optional(),
  /** Calls the tool `ask_human`. */
  ask: z.union([z.string().min(1), z.strictObject({ question: z.string().min(1), options: z.array(z.string()).default([]) })]).optional(),
  /** Calls the tool `finish` with this summary. */
  finish: z.string().min(1).optional(),
  expect: z.array(Expectation).default([]),
  fail: z.strictObject({
    status: z.union([z.literal(400), z.literal(401), z.literal(403), z.literal(429), z.literal(500), z.literal(503), z.literal(529)]),
    /** Seconds; sent as Retry-After. */
    retryAfter: z.number().nonnegative().optional(),
    times,
  }).optional(),
  /** The JSON of the turn's first tool input ends in the middle. */
  malformed: z.union([z.literal(true), z.strictObject({ times })]).optional(),
  /** The connection is destroyed after so many SSE events (0: before the first byte of the body). */
  cut: z.strictObject({ afterEvents: z.number().int().nonnegative(), times }).optional(),
  /** Nothing is sent for so long; then the answer goes on, if anybody is still listening. */
  silence: z.strictObject({ ms: z.number().int().positive(), afterEvents: z.number().int().nonnegative().default(0), times }).optional(),
  /** Thinking time in ms before the answer starts; not a fault, so every call of the turn has it. */
  delay: z.number().int().nonnegative().default(0),
}).refine((turn) => turn.say !== undefined || turn.tools.length > 0 || turn.json || turn.jsonFrom || turn.ask || turn.finish, {
  message: 'a turn needs an answer: say, tools, json, jsonFrom, ask or finish (a fault comes before it)',
}).refine((turn) => !turn.malformed || turn.tools.length > 0 || turn.json || turn.jsonFrom || turn.ask || turn.finish, {
  message: 'malformed breaks the input of a tool call, and this turn makes none', path: ['malformed'],
})
export type Turn = z.infer<typeof Turn>

const oneOrMore = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)])

const Scene = z.strictObject({
  /** developer, designer, reviewer, …; any when absent. */
  role: oneOrMore.optional(),
  /** Plan key(s) of the ticket. */
  ticket: oneOrMore.optional(),
  /** Regular expression on the ticket's title, case-insensitive. */
  title: regex().optional(),
  /** Which attempts of the ticket: 2, [1, 3], or "2+" for the second and all later. */
  attempt: z.union([z.number().int().positive(), z.array(z.number().int().positive()).min(1), z.string().regex(/^\d+\+$/, 'write a number, a list, or e.g. "2+"')]).optional(),
  /** Step of a design call: skeleton, expand:<epic key>; or a pattern. */
  step: z.union([z.string().min(1), z.strictObject({ matches: regex() })]).optional(),
  /** Required in every call of the scene. */
  expect: z.array(Expectation).default([]),
  turns: z.array(Turn).min(1),
  /** An optional scene may stay unplayed: it is not listed as remaining. */
  optional: z.boolean().default(false),
})
export type Scene = z.infer<typeof Scene>

export const Script = z.strictObject({
  version: z.literal(1),
  title: z.string().optional(),
  scenes: z.array(Scene).min(1),
})
export type Script = z.infer<typeof Script> & {
  /** Folder that contentFrom and jsonFrom are relative to. */
  readonly folder: string
}

function regex() {
  return z.string().min(1).refine((source) => {
    try {
      new RegExp(source)
      return true
    } catch (error) {
      if (error instanceof SyntaxError) return false
      throw error
    }
  }, 'not a valid regular expression')
}

/** A script that cannot be played. `problems` name line, path and what is wrong, one string each. */
export class RehearsalScriptError extends Error {
  readonly problems: readonly string[]

  constructor(file: string, problems: readonly string[]) {
    super(`The rehearsal script ${file} cannot be played:\n${problems.map((problem) => `  ${problem}`).join('\n')}\nThe format is described in docs/rehearsal.md.`)
    this.name = 'RehearsalScriptError'
    this.problems = problems
  }
}

/** Reads and checks a script file. Throws RehearsalScriptError with every problem found. */
export async function readScript(file: string): Promise<Script> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    throw new RehearsalScriptError(file, [`it cannot be read: ${error instanceof Error ? error.message : String(error)}`])
  }
  const script = parseScript(text, { file, folder: dirname(resolve(file)) })
  for (const scene of script.scenes) {
    for (const turn of scene.turns) await loadFiles(turn, script.folder)
  }
  return script
}

/** Parses the text of a script; files named by contentFrom and jsonFrom must exist, and are read by `readScript`. */
export function parseScript(text: string, where: { file: string; folder: string }): Script {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines })
  if (document.errors.length > 0) {
    throw new RehearsalScriptError(where.file, document.errors.map((error) => `line ${lines.linePos(error.pos[0]).line}: ${error.message.split('\n')[0]}`))
  }
  const parsed = Script.safeParse(document.toJS())
  if (!parsed.success) {
    throw new RehearsalScriptError(where.file, parsed.error.issues.flatMap((issue) => describe(issue, document, lines, [])))
  }
  const missing: string[] = []
  parsed.data.scenes.forEach((scene, s) => scene.turns.forEach((turn, t) => {
    const files: Array<[string | undefined, Array<string | number>]> = [
      [turn.jsonFrom, ['scenes', s, 'turns', t, 'jsonFrom']],
      ...turn.tools.map((tool, i): [string | undefined, Array<string | number>] => [tool.contentFrom, ['scenes', s, 'turns', t, 'tools', i, 'contentFrom']]),
    ]
    for (const [file, path] of files) {
      if (file && !existsSync(resolve(where.folder, file))) missing.push(`line ${lineOf(document, lines, path)}, ${pathText(path)}: there is no file ${resolve(where.folder, file)}`)
    }
  }))
  if (missing.length > 0) throw new RehearsalScriptError(where.file, missing)
  return { ...parsed.data, folder: where.folder }
}

async function loadFiles(turn: Turn, folder: string): Promise<void> {
  for (const tool of turn.tools) {
    // The path is kept as the source of the text; variables are filled in only in what stands in the script itself.
    if (tool.contentFrom) tool.input['content'] = new LiteralText(await readFile(resolve(folder, tool.contentFrom), 'utf8'))
  }
  if (turn.jsonFrom) {
    const file = resolve(folder, turn.jsonFrom)
    try {
      turn.json = z.record(z.string(), z.unknown()).parse(JSON.parse(await readFile(file, 'utf8')))
    } catch (error) {
      throw new RehearsalScriptError(file, [`it is not one JSON object: ${error instanceof Error ? error.message : String(error)}`])
    }
  }
}

/** Text from a file: goes into the answer as it is, `{{…}}` included. */
export class LiteralText {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

type Issue = z.core.$ZodIssue

function describe(issue: Issue, document: Document, lines: LineCounter, parents: readonly PropertyKey[]): string[] {
  const path = [...parents, ...issue.path]
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    // The branch that got furthest is the one that was meant.
    const best = [...issue.errors].sort((a, b) => depth(b) - depth(a))[0] ?? []
    if (depth(best) > 0) return best.flatMap((inner) => describe(inner, document, lines, path))
  }
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => `line ${lineOf(document, lines, [...path, key])}, ${pathText([...path, key])}: there is no such key here`)
  }
  return [`line ${lineOf(document, lines, path)}, ${pathText(path)}: ${issue.message}`]
}

const depth = (issues: readonly Issue[]): number => Math.max(0, ...issues.map((issue) => issue.path.length))

function pathText(path: readonly PropertyKey[]): string {
  return path.map((part, i) => (typeof part === 'number' ? `[${part}]` : `${i > 0 ? '.' : ''}${String(part)}`)).join('') || 'the whole script'
}

/** Line of the node at a path, or of its nearest parent that exists. */
function lineOf(document: Document, lines: LineCounter, path: readonly PropertyKey[]): number {
  for (let length = path.length; length > 0; length--) {
    const key = path[length - 1]
    const parent: unknown = length === 1 ? document.contents : document.getIn(path.slice(0, length - 1), true)
    if (isMap(parent)) {
      const pair = parent.items.find((item) => isPair(item) && isNode(item.key) && String(item.key) === String(key))
      if (pair && isNode(pair.key) && pair.key.range) return lines.linePos(pair.key.range[0]).line
    }
    const node: unknown = document.getIn(path.slice(0, length), true)
    if (isNode(node) && node.range) return lines.linePos(node.range[0]).line
  }
  return 1
}
