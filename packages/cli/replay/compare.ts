import { canonicalJson } from '@swarm/core/approvals/approval.ts'

/** Where two requests differ for the first time. */
export interface Difference { /** JSON path, such as `$.messages[2].content[0].content`. */ readonly path: string; readonly recorded: string; readonly replayed: string }
/** `alike`: they differ in what is different at each run and means nothing (docs/replay.md lists it). */
export type Comparison = { readonly kind: 'same' } | { readonly kind: 'alike' } | { readonly kind: 'different'; readonly difference: Difference }

/** Fields of a request that do not belong to the conversation: the gateway lowers max_tokens to what the budget leaves. */
const VOLATILE_FIELDS = new Set(['max_tokens'])
/** Characters shown of each side, around the first that differs. */
const SHOWN = 160

/** Compares a request with the recorded one. */
export function compareRequests(recorded: unknown, replayed: unknown): Comparison {
  const [before, after] = [withoutVolatile(recorded), withoutVolatile(replayed)]
  if (canonicalJson(before) === canonicalJson(after)) return { kind: 'same' }
  const difference = firstDifference(before, after, '$')
  return difference === null ? { kind: 'alike' } : { kind: 'different', difference }
}

/** Text without how long something took, and without where the process driver happened to put its folder. */
export function settled(text: string): string {
  return text
    .replace(/[^\s"'`]*\/processes\/swarm-slot-[0-9a-f]{12}(?=\/(?:work|home|tmp)\b)/g, '')
    .replace(/\bduration_ms[: ]+\d+(?:\.\d+)?/g, 'duration_ms #')
    .replace(/\b\d+(?:\.\d+)?(?= ?(?:ms|s|seconds|milliseconds)\b)/g, '#')
}

function withoutVolatile(request: unknown): unknown {
  if (!isObject(request)) return request
  return Object.fromEntries(Object.entries(request).filter(([name]) => !VOLATILE_FIELDS.has(name)))
}

function firstDifference(recorded: unknown, replayed: unknown, path: string): Difference | null {
  if (Array.isArray(recorded) && Array.isArray(replayed)) {
    for (let at = 0; at < Math.max(recorded.length, replayed.length); at++) {
      const found = firstDifference(recorded[at], replayed[at], `${path}[${at}]`)
      if (found) return found
    }
    return null
  }
  if (isObject(recorded) && isObject(replayed)) {
    for (const name of [...new Set([...Object.keys(recorded), ...Object.keys(replayed)])].sort()) {
      const found = firstDifference(recorded[name], replayed[name], `${path}.${name}`)
      if (found) return found
    }
    return null
  }
  const texts = typeof recorded === 'string' && typeof replayed === 'string'
  const [before, after] = texts ? [settled(recorded), settled(replayed)] : [shown(recorded), shown(replayed)]
  return before === after ? null : { path, ...shorten(before, after) }
}

function shown(value: unknown): string {
  return value === undefined ? '(nothing)' : canonicalJson(value)
}

/** Both sides around the first character that differs. */
function shorten(recorded: string, replayed: string): { recorded: string; replayed: string } {
  let at = 0
  while (at < recorded.length && recorded[at] === replayed[at]) at++
  const from = Math.max(0, at - SHOWN / 4)
  const cut = (text: string): string => `${from > 0 ? '…' : ''}${text.slice(from, from + SHOWN)}${from + SHOWN < text.length ? '…' : ''}`
  return { recorded: cut(recorded), replayed: cut(replayed) }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
