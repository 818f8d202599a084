import { stat } from 'node:fs/promises'
import { isAbsolute } from 'node:path'
import { DomainError } from '@swarm/core/errors.ts'
import { git } from '@swarm/git/run.ts'
import { compareAndSet, isAncestor, readRef } from './bare.ts'

/** What an origin offers: the branch that its HEAD names, or the one asked for, and whether its work tree has uncommitted work. */
export interface OriginHead { readonly branch: string; readonly sha: string; readonly dirty: boolean }

export type ImportOutcome = 'imported' | 'fast_forwarded' | 'unchanged' | 'ahead'

const ALLOWED_SCHEMES = new Set(['https:', 'ssh:', 'git:'])
/** What git itself may then do to reach an address: only these transports, and no redirect, which could lead anywhere. */
const REMOTE = { config: ['-c', 'http.followRedirects=false'], env: { GIT_ALLOW_PROTOCOL: 'https:ssh:git' } } as const
const LOCAL = { config: [], env: { GIT_ALLOW_PROTOCOL: 'file' } } as const
const reaching = (origin: string): { readonly config: readonly string[]; readonly env: Readonly<Record<string, string>> } => isLocalOrigin(origin) ? LOCAL : REMOTE
/** A folder of the server's own machine. */
export const isLocalOrigin = (origin: string): boolean => isAbsolute(origin)

const SCP_FORM = /^[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:[^:]+$/

/**
 * Checks that `origin` is an absolute path or an address that git may be given, without credentials in it.
 * Errors: `invalid_input`, `origin_with_credentials`.
 */
export function assertOrigin(origin: string): string {
  const refuse = (problem: string): never => { throw new DomainError('invalid_input', { problem, field: 'source' }) }
  if (origin === '' || origin.length > 2_000 || /[\x00-\x1f\x7f]/.test(origin)) return refuse('the source is empty, too long or holds control characters')
  if (isLocalOrigin(origin) || SCP_FORM.test(origin)) return origin
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(origin)) return refuse('the source is neither an absolute path nor an address such as https://… or git@host:path')
  const url = URL.canParse(origin) ? new URL(origin) : refuse('the source is no valid address')
  if (!ALLOWED_SCHEMES.has(url.protocol)) return refuse(`${url.protocol}// is not a way to fetch a repository`)
  if (url.password !== '' || (url.username !== '' && url.protocol !== 'ssh:')) throw new DomainError('origin_with_credentials', { host: url.host })
  return origin
}

/**
 * Looks at an origin without changing anything there.
 * Errors: `origin_missing`, `not_a_repository`, `repository_without_commits`, `branch_missing`, `origin_unreachable`.
 */
export async function inspectOrigin(cwd: string, origin: string, branch?: string): Promise<OriginHead> {
  assertOrigin(origin)
  const local = isLocalOrigin(origin)
  if (local) {
    const found = await stat(origin).catch(() => null)
    if (found === null) throw new DomainError('origin_missing', { path: origin })
    if (!found.isDirectory()) throw new DomainError('not_a_repository', { path: origin })
    // Without this git would walk up and take a repository that merely surrounds the folder.
    const dir = await git(origin, ['rev-parse', '--absolute-git-dir', '--show-cdup'], { okCodes: [0, 128] })
    const [, up = ''] = dir.stdout.split('\n')
    if (dir.code !== 0 || up !== '') throw new DomainError('not_a_repository', { path: origin })
  }
  const listed = await git(cwd, [...reaching(origin).config, 'ls-remote', '--symref', '--', origin, 'HEAD', ...(branch === undefined ? ['refs/heads/*'] : [`refs/heads/${branch}`])], { okCodes: [0, 2, 128], env: reaching(origin).env })
  if (listed.code === 128) throw originFault(origin, listed.stderr)
  const lines = listed.stdout.split('\n')
  const named = branch ?? lines.map((line) => /^ref: refs\/heads\/(.+)\tHEAD$/.exec(line)?.[1]).find((name) => name !== undefined)
  const heads = lines.filter((line) => /\trefs\/heads\//.test(line))
  if (branch === undefined && heads.length === 0) throw new DomainError('repository_without_commits', { repository: origin, branch: named ?? 'its default branch' })
  if (named === undefined) throw new DomainError('branch_missing', { branch: 'HEAD', repository: origin })
  const sha = lines.find((line) => line.endsWith(`\trefs/heads/${named}`))?.split('\t')[0]
  if (sha === undefined) throw new DomainError('branch_missing', { branch: named, repository: origin })
  return { branch: named, sha, dirty: local && await isDirty(origin) }
}

async function isDirty(path: string): Promise<boolean> {
  // GIT_OPTIONAL_LOCKS=0 (always set): not even the index is refreshed on disk.
  const status = await git(path, ['status', '--porcelain', '-uno', '--ignore-submodules'], { okCodes: [0, 128], maxBytes: 16 * 1024 * 1024 })
  return status.code === 0 && status.stdout !== ''
}

function originFault(origin: string, stderr: string): DomainError {
  if (/dubious ownership|not a git repository|does not appear to be a git repository/.test(stderr)) return new DomainError('not_a_repository', { path: origin })
  return new DomainError('origin_unreachable', { origin, problem: stderr.trim().split('\n').at(-1) ?? 'no answer' })
}

/**
 * Brings the origin's branch to `refs/swarm/origin/<branch>` and main after it, when main has nothing of its own:
 * main absent → imported; main older → fast-forwarded; equal → unchanged; main newer → ahead (nothing to do); each with
 * something that the other lacks → `repository_diverged`, and main stays. Reads the origin only.
 */
export async function fetchOrigin(path: string, origin: string, branch: string): Promise<{ outcome: ImportOutcome; head: string; previous: string | null }> {
  const tracking = `refs/swarm/origin/${branch}`
  const fetched = await git(path, [...reaching(origin).config, 'fetch', '--quiet', '--no-tags', '--no-write-fetch-head', '--no-recurse-submodules', '--', origin, `+refs/heads/${branch}:${tracking}`], { okCodes: [0, 1, 128], env: reaching(origin).env })
  if (fetched.code !== 0) {
    if (/shallow/.test(fetched.stderr)) throw new DomainError('origin_shallow', { path: origin })
    throw originFault(origin, fetched.stderr)
  }
  const theirs = await readRef(path, tracking)
  if (theirs === null) throw new DomainError('origin_shallow', { path: origin })
  for (;;) {
    const ours = await readRef(path, `refs/heads/${branch}`)
    if (ours === theirs) return { outcome: 'unchanged', head: theirs, previous: ours }
    if (ours !== null && await isAncestor(path, theirs, ours)) return { outcome: 'ahead', head: ours, previous: ours }
    if (ours !== null && !await isAncestor(path, ours, theirs)) throw new DomainError('repository_diverged', { branch, ours: ours.slice(0, 12), theirs: theirs.slice(0, 12) })
    if (await compareAndSet(path, `refs/heads/${branch}`, theirs, ours)) return { outcome: ours === null ? 'imported' : 'fast_forwarded', head: theirs, previous: ours }
  }
}

/**
 * Fast-forwards the origin's branch to Swarm's main; never forces. A checked-out branch of a local work tree moves with its
 * files, and only when nothing there is uncommitted. Errors: `push_refused`, `origin_unreachable`.
 */
export async function pushToOrigin(path: string, origin: string, branch: string): Promise<{ head: string }> {
  assertOrigin(origin)
  const head = await readRef(path, `refs/heads/${branch}`)
  if (head === null) throw new DomainError('repository_without_commits', { repository: path, branch })
  const pushed = await git(path, [
    ...reaching(origin).config, 'push', '--quiet', '--porcelain', '--no-recurse-submodules',
    // The origin's own setting refuses any push to a checked-out branch; the person asked for exactly that.
    ...(isLocalOrigin(origin) ? ['--receive-pack=git -c receive.denyCurrentBranch=updateInstead receive-pack'] : []),
    '--', origin, `${head}:refs/heads/${branch}`,
  ], { okCodes: [0, 1, 128], env: reaching(origin).env })
  if (pushed.code === 0) return { head }
  if (pushed.code === 128) throw originFault(origin, pushed.stderr)
  throw new DomainError('push_refused', { origin, branch, problem: /non-fast-forward|fetch first/.test(pushed.stdout + pushed.stderr) ? 'it has commits that Swarm does not have' : reasonOf(pushed.stdout, pushed.stderr) })
}

function reasonOf(stdout: string, stderr: string): string {
  return /\((?:remote )?(?:rejected|.*?)\)/.exec(stdout.split('\n').find((line) => line.startsWith('!')) ?? '')?.[0] ?? stderr.trim().split('\n').at(-1) ?? 'refused'
}
