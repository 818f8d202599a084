import { DEFAULT_LIMITS, type RepositoryPlan } from '@swarm/core/checks/plan.ts'
import { DEBIAN_PACKAGE, imagePathProblem, MAX_IMAGE_FILES, NPM_PACKAGE } from '@swarm/core/checks/image.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { isMap, LineCounter, parseDocument, type Document } from 'yaml'
import { StatedVmLimits } from '@swarm/contract/runner-protocol.ts'
import { z } from 'zod'

/** More than any sensible one; also what the endpoint that takes it allows. */
export const MAX_SWARM_YML_BYTES = 65_536

const Command = z.string().trim().min(1, 'a command is empty').max(10_000)
const Globs = z.array(z.string().min(1).max(500)).max(500)
const Host = z.string().max(253).regex(/^(preset:[a-z]+|(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*)$/i, 'neither an exact host, nor *.suffix, nor a preset such as preset:npm')
const PackageName = z.string().max(100).regex(DEBIAN_PACKAGE, 'no name of a Debian package')
const NpmName = z.string().max(300).regex(NPM_PACKAGE, 'no name of an npm package, alone or with one exact version such as typescript@5.6.3 (no range, no tag)')
const RepositoryPath = z.string().min(1).max(500).refine((path) => !/[\0-\x1f\x7f\\]/.test(path) && !path.split('/').some((name) => name === '' || name === '.' || name === '..'), 'no path of a file inside the repository')
const ImagePath = z.string().superRefine((path, context) => {
  const problem = imagePathProblem(path)
  if (problem !== null) context.addIssue({ code: 'custom', message: `it ${problem}` })
})
// YAML reads 0755 as the number 755: both are taken as what they look like.
const FileMode = z.union([z.string(), z.number()]).default('0644').transform(String).pipe(z.string().regex(/^0?[0-7]{3}$/, 'no mode of a file such as "0755"').transform((mode) => Number.parseInt(mode, 8)))
const ImageFile = z.strictObject({ from: RepositoryPath, to: ImagePath, mode: FileMode })

const SwarmYml = z.strictObject({
  checks: z.record(z.string().regex(/^[A-Za-z][A-Za-z0-9 _.-]{0,62}$/, 'the name of a check starts with a letter and has at most 63 letters, digits, spaces or ._-'), Command).optional(),
  image: z.strictObject({ packages: z.array(PackageName).max(100).default([]), npm: z.array(NpmName).max(100).default([]), files: z.array(ImageFile).max(MAX_IMAGE_FILES).default([]) }).prefault({}),
  setup: z.strictObject({ inputs: Globs.optional() }).prefault({}),
  egress: z.strictObject({ allow: z.array(Host).max(200).default([]) }).prefault({}),
  scope: z.strictObject({ protect: Globs.default([]), generated: Globs.default([]) }).prefault({}),
  limits: z.strictObject({
    // Ceilings of one microVM: a repository cannot ask a host for more, whoever wrote its file.
    cpu: StatedVmLimits.shape.cpu.unwrap().max(16), memoryMb: StatedVmLimits.shape.memoryMb.unwrap().max(16_384), diskMb: StatedVmLimits.shape.diskMb.unwrap().max(65_536),
    minutes: StatedVmLimits.shape.minutes.unwrap().max(1_440), usd: z.number().positive().max(10_000),
  }).partial().prefault({}),
})

/** What the file states; `checks` is null where it states none, and they are detected. `limits` holds only what it states. */
export interface SwarmYmlFile {
  readonly checks: { readonly setup: string | null; readonly list: readonly { name: string; command: string }[] } | null
  readonly image: { packages: string[]; npm: string[]; files: { from: string; to: string; mode: number; line: number }[] }
  /** Globs of the files that the setup command reads; null where it states none. */
  readonly setupInputs: string[] | null
  readonly egressAllow: string[]
  readonly scope: { protect: string[]; generated: string[] }
  readonly limits: { cpu?: number | undefined; memoryMb?: number | undefined; diskMb?: number | undefined; minutes?: number | undefined; usd?: number | undefined }
}

/**
 * Reads the text of a swarm.yml. Checks run in the order of the file; the one named `setup` prepares the workspace.
 * Errors: `swarm_yml_invalid` with the line.
 */
export function parseSwarmYml(text: string): SwarmYmlFile {
  const refuse = (line: number, problem: string): never => { throw new DomainError('swarm_yml_invalid', { line, problem }) }
  if (Buffer.byteLength(text) > MAX_SWARM_YML_BYTES) return refuse(1, `the file is larger than ${MAX_SWARM_YML_BYTES} bytes`)
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, version: '1.2', prettyErrors: false, stringKeys: true })
  const [fault] = [...document.errors, ...document.warnings]
  if (fault) return refuse(lines.linePos(fault.pos[0]).line, fault.message)
  let value: unknown
  try {
    value = document.toJS({ maxAliasCount: 20 })
  } catch (error) {
    return refuse(1, error instanceof Error ? error.message : 'it cannot be read')
  }
  const parsed = SwarmYml.safeParse(value ?? {})
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    const path = issue?.code === 'unrecognized_keys' ? [...issue.path, issue.keys[0] ?? ''] : issue?.path ?? []
    const where = path.length === 0 ? 'the file' : path.join('.')
    const problem = issue?.code === 'unrecognized_keys' ? `there is no setting ${where}` : `${where}: ${issue?.code === 'invalid_key' ? issue.issues[0]?.message : issue?.message}`
    return refuse(lineOf(document, lines, path), problem)
  }
  const { checks, image, setup, egress, scope, limits } = parsed.data
  const files = image.files.map((file, index) => ({ ...file, line: lineOf(document, lines, ['image', 'files', index, 'to']) }))
  const twice = files.find((file, index) => files.findIndex(({ to }) => to === file.to) < index)
  if (twice) return refuse(twice.line, `image.files: ${twice.to} is named twice`)
  const list = checks === undefined ? null : orderedChecks(document, checks)
  return {
    checks: list === null ? null : { setup: list.find((check) => check.name === 'setup')?.command ?? null, list: list.filter((check) => check.name !== 'setup') },
    image: { ...image, files }, setupInputs: setup.inputs ?? null, egressAllow: egress.allow, scope, limits,
  }
}

/** In the order of the file: an object would put a name like "1" first. */
function orderedChecks(document: Document, checks: Record<string, string>): { name: string; command: string }[] {
  const node = document.get('checks', true)
  const names = isMap(node) ? node.items.map((item) => String(item.key)) : Object.keys(checks)
  return names.flatMap((name) => (checks[name] === undefined ? [] : [{ name, command: checks[name] }]))
}

function lineOf(document: Document, lines: LineCounter, path: readonly PropertyKey[]): number {
  for (let length = path.length; length > 0; length--) {
    const parent = document.getIn(path.slice(0, length - 1), true)
    const key = path[length - 1]
    const pair = isMap(parent) ? parent.items.find((item) => String(item.key) === String(key)) : undefined
    const node = pair?.key ?? document.getIn(path.slice(0, length), true)
    const range = typeof node === 'object' && node !== null && 'range' in node ? (node.range as [number, number, number] | null | undefined) : undefined
    if (range) return lines.linePos(range[0]).line
  }
  return 1
}

export type PlanLimitsStated = SwarmYmlFile['limits']

/** Limits of a check's microVM: what the file states over the defaults. */
export function limitsOf(stated: PlanLimitsStated): RepositoryPlan['limits'] {
  return {
    cpu: stated.cpu ?? DEFAULT_LIMITS.cpu, memoryMb: stated.memoryMb ?? DEFAULT_LIMITS.memoryMb, diskMb: stated.diskMb ?? DEFAULT_LIMITS.diskMb,
    minutes: stated.minutes ?? DEFAULT_LIMITS.minutes, egressBytes: DEFAULT_LIMITS.egressBytes, pids: DEFAULT_LIMITS.pids,
  }
}
