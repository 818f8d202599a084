import { createHash } from 'node:crypto'
import { MAX_IMAGE_FILE_BYTES, type PlannedFile } from '@swarm/core/checks/image.ts'
import { detectChecks, DETECTION_READS, type Detected } from '@swarm/core/checks/detect.ts'
import { canonicalPlan, type CheckPlan, type RepositoryPlan } from '@swarm/core/checks/plan.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { readTextAt } from '@swarm/git/diff.ts'
import { git } from '@swarm/git/run.ts'
import { treeEntries } from '@swarm/git/tree.ts'
import { limitsOf, parseSwarmYml, type PlanLimitsStated, type SwarmYmlFile } from './swarm-yml.ts'

/** A plan with what the file itself states about limits (the rest are defaults). */
export type ReadPlan = RepositoryPlan & { readonly stated: PlanLimitsStated }

/**
 * What a repository says about itself at `base`: its swarm.yml, and detection for what that leaves out.
 *
 * `change` is a commit on top of base. It is looked at in one case only: the base's swarm.yml names no checks and
 * detection finds none in the base either (a new repository). Then what the change brings is run, since the other choice would be to run nothing.
 * Errors: `swarm_yml_invalid`, `unknown_revision`.
 */
export async function readRepositoryPlan(path: string, base: string, change?: string): Promise<ReadPlan> {
  const text = await readTextAt(path, base, 'swarm.yml')
  const file = parseSwarmYml(text ?? '')
  let source: RepositoryPlan['source'] = 'swarm.yml'
  let found: Detected = { setup: file.checks?.setup ?? null, checks: file.checks?.list ?? [], packages: [], egressAllow: [] }
  if (file.checks === null) {
    source = 'detected'
    found = await detectAt(path, base)
    if (found.checks.length === 0 && change !== undefined) {
      source = 'detected in the change'
      found = await detectAt(path, change)
    }
    if (found.checks.length === 0) source = 'none'
  }
  return {
    setup: found.setup, checks: found.checks, source,
    image: { packages: [...new Set([...file.image.packages, ...found.packages])], npm: file.image.npm, files: await imageFiles(path, base, file.image.files) },
    ...(file.setupInputs === null ? {} : { setupInputs: file.setupInputs }),
    egressAllow: [...new Set([...file.egressAllow, ...found.egressAllow])],
    limits: limitsOf(file.limits), stated: file.limits, scope: file.scope, usd: file.limits.usd ?? null,
  }
}

/** The files that swarm.yml gives the image, as objects of the base commit. Errors: `swarm_yml_invalid` */
async function imageFiles(path: string, base: string, stated: SwarmYmlFile['image']['files']): Promise<PlannedFile[]> {
  if (stated.length === 0) return []
  const entries = await treeEntries(path, base, stated.map(({ from }) => from))
  let bytes = 0
  return stated.map(({ from, to, mode, line }) => {
    const entry = entries.find((each) => each.path === from)
    if (!entry || entry.type !== 'blob' || entry.mode === '120000') throw new DomainError('swarm_yml_invalid', { line, problem: `image.files: there is no file ${from} in the base commit` })
    if ((bytes += entry.bytes) > MAX_IMAGE_FILE_BYTES) throw new DomainError('swarm_yml_invalid', { line, problem: `image.files: together they are larger than ${MAX_IMAGE_FILE_BYTES} bytes` })
    return { path: to, mode, blob: entry.object }
  })
}

async function detectAt(path: string, commit: string): Promise<Detected> {
  const listed = await git(path, ['ls-tree', '-r', '-z', '--name-only', '--full-tree', commit])
  const files = listed.stdout.split('\0').filter((name) => name !== '')
  const texts = new Map<string, string | null>()
  for (const name of DETECTION_READS) if (files.includes(name)) texts.set(name, await readTextAt(path, commit, name))
  return detectChecks({ files, read: (name) => texts.get(name) ?? null })
}

/** The part of a plan that a check run keeps, and its SHA-256 in hexadecimal. */
export function sealPlan(plan: CheckPlan): { text: string; digest: string } {
  const text = canonicalPlan(plan)
  return { text, digest: createHash('sha256').update(text).digest('hex') }
}
