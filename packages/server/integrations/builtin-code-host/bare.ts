import { mkdir, rename, rm, stat } from 'node:fs/promises'
import { randomUUID } from 'node:crypto'
import { dirname, join } from 'node:path'
import { DomainError } from '@swarm/core/errors.ts'
import { git } from '@swarm/git/run.ts'

/*
 * Bare repositories under SWARM_HOME/repositories/<project>/<repository>.git. Refs:
 *   refs/heads/<default>                 main: moved by import and by the merge queue, only by compare-and-set
 *   refs/heads/swarm/<ticket>            the ticket's branch; follows the database
 *   refs/swarm/attempts/<attempt>/…      what an attempt starts from and pushes; kept
 *   refs/swarm/checks/<check>            the commit that a check run is about; kept
 *   refs/swarm/batches/<batch>           a batch's permit to land: main moves to it only together with this ref's end
 *   refs/swarm/origin/<default>          the origin's branch as last imported
 */

/** Who commits where no agent or person did: the initial commit, and rebased commits as committer. */
export const SWARM_IDENTITY = { name: 'Swarm', email: 'swarm@swarm.internal' } as const

/** Settings in the repository's own file, so that they hold for whoever opens it, ours or a person's git. */
const CONFIG: readonly (readonly [string, string])[] = [
  ['gc.auto', '0'],
  ['maintenance.auto', 'false'],
  ['core.logAllRefUpdates', 'always'],
  // Objects and refs are synced to disk before they count: main must not go back over a power cut.
  ['core.fsync', 'committed,reference'],
  ['receive.fsckObjects', 'true'],
  ['receive.denyDeletes', 'true'],
  ['transfer.hideRefs', 'refs/swarm'],
  ['uploadpack.allowAnySHA1InWant', 'false'],
]

const SEGMENT = /^[a-z0-9][a-z0-9-]{0,62}$/

/** Where the repository with these slugs is. Errors: `invalid_input` for anything that is no slug. */
export function repositoryPath(root: string, projectSlug: string, repositorySlug: string): string {
  for (const slug of [projectSlug, repositorySlug]) {
    if (!SEGMENT.test(slug)) throw new DomainError('invalid_input', { problem: `"${slug.slice(0, 80)}" is no slug`, field: 'the name' })
  }
  return join(root, projectSlug, `${repositorySlug}.git`)
}

/**
 * Makes a bare repository with what `fill` puts into it, whole or not at all: it is made beside its place and moved there.
 * When one is there already (a crash came after the move), it is kept and `fill` is not called.
 */
export async function createBare(path: string, branch: string, fill: (path: string) => Promise<void>): Promise<void> {
  if (await exists(path)) return
  const draft = join(dirname(path), `.draft-${randomUUID()}`)
  await mkdir(draft, { recursive: true })
  try {
    await git(draft, ['init', '-q', '--bare', '--template=', `--initial-branch=${branch}`])
    for (const [key, value] of CONFIG) await git(draft, ['config', key, value])
    await fill(draft)
    await rename(draft, path)
  } catch (error) {
    await rm(draft, { recursive: true, force: true })
    throw error
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(() => true, () => false)
}

/** Writes one commit that holds exactly these files on `branch` of a bare repository, and gives its id. */
export async function commitFiles(path: string, branch: string, files: Readonly<Record<string, string>>, message: string): Promise<string> {
  const index = { GIT_INDEX_FILE: join(path, `index-${randomUUID()}`) }
  try {
    const entries: string[] = []
    for (const [name, text] of Object.entries(files)) {
      const blob = (await git(path, ['hash-object', '-w', '--stdin'], { input: text })).stdout.trim()
      entries.push(`100644 ${blob}\t${name}\0`)
    }
    await git(path, ['update-index', '-z', '--add', '--index-info'], { input: entries.join(''), env: index })
    const tree = (await git(path, ['write-tree'], { env: index })).stdout.trim()
    const commit = (await git(path, ['commit-tree', tree, '-F', '-'], { input: message, env: identity() })).stdout.trim()
    await compareAndSet(path, `refs/heads/${branch}`, commit, null)
    return commit
  } finally {
    await rm(index.GIT_INDEX_FILE, { force: true })
  }
}

/** Environment that makes Swarm the author and committer; `at` in whole seconds since the epoch. */
export function identity(at?: number): Record<string, string> {
  const date: Record<string, string> = at === undefined ? {} : { GIT_AUTHOR_DATE: `@${at} +0000`, GIT_COMMITTER_DATE: `@${at} +0000` }
  return {
    GIT_AUTHOR_NAME: SWARM_IDENTITY.name, GIT_AUTHOR_EMAIL: SWARM_IDENTITY.email,
    GIT_COMMITTER_NAME: SWARM_IDENTITY.name, GIT_COMMITTER_EMAIL: SWARM_IDENTITY.email, ...date,
  }
}

/** The commit that `ref` points at, or null. */
export async function readRef(path: string, ref: string): Promise<string | null> {
  const found = await git(path, ['rev-parse', '--verify', '--quiet', '--end-of-options', `${ref}^{commit}`], { okCodes: [0, 1] })
  return found.code === 0 ? found.stdout.trim() : null
}

/** `sha` null deletes the ref; `expected` null says that it must not exist. */
export interface RefMove { readonly ref: string; readonly sha: string | null; readonly expected: string | null }

/**
 * Moves all refs, each from where it is expected to be, or none, durably. Returns false when one of them is elsewhere by
 * now; git's own ref locks decide, so two processes cannot both win.
 */
export async function compareAndSetAll(path: string, moves: readonly RefMove[]): Promise<boolean> {
  const width = moves.flatMap(({ sha, expected }) => [sha, expected]).find((sha) => sha !== null)?.length ?? 40
  const none = '0'.repeat(width)
  const input = moves.map(({ ref, sha, expected }) => sha === null ? `delete ${ref}\0${expected ?? none}\0` : `update ${ref}\0${sha}\0${expected ?? none}\0`).join('')
  const moved = await git(path, ['update-ref', '--create-reflog', '-m', 'swarm', '-z', '--stdin'], { input, okCodes: [0, 1, 128] })
  if (moved.code === 0) return true
  for (const { ref, expected } of moves) if (await readRef(path, ref) !== expected) return false
  throw new DomainError('git_failed', { command: `update-ref ${moves.map(({ ref }) => ref).join(' ')}`, exitCode: moved.code, stderr: moved.stderr.trim() })
}

/** As `compareAndSetAll`, of one ref. */
export async function compareAndSet(path: string, ref: string, sha: string, expected: string | null): Promise<boolean> {
  return await compareAndSetAll(path, [{ ref, sha, expected }])
}

/** Makes `ref` point at `sha`, wherever it is; repeated until it does. For refs that follow the database. */
export async function followRef(path: string, ref: string, sha: string): Promise<void> {
  for (;;) {
    const now = await readRef(path, ref)
    if (now === sha || await compareAndSet(path, ref, sha, now)) return
  }
}

export async function isAncestor(path: string, older: string, newer: string): Promise<boolean> {
  return (await git(path, ['merge-base', '--is-ancestor', older, newer], { okCodes: [0, 1] })).code === 0
}

export async function treeOf(path: string, commit: string): Promise<string> {
  return (await git(path, ['rev-parse', '--verify', '--end-of-options', `${commit}^{tree}`])).stdout.trim()
}
