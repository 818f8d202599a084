import { createHash } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { basename, join, relative } from 'node:path'
import { parseSpec } from '@swarm/core/design/spec.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { git, resolveCommit } from '@swarm/git/run.ts'
import { callerFolder, userPath } from '../config.ts'
import { UserError } from '../errors.ts'

/** The text of a file that the user named. @throws UserError that says what it was for */
export async function readableFile(path: string, what: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    const why = code === 'ENOENT' ? 'does not exist' : code === 'EISDIR' ? 'is a folder' : `cannot be read (${String(code ?? error)})`
    throw new UserError('file_unreadable', `${what} ${path} ${why}.`, 'Give the path of a file that you can read; it is relative to the folder that you call from.')
  }
}

export interface Spec { readonly markdown: string; readonly title: string; readonly requirements: number; readonly hash: string }

/** A spec that can be built, before anything is started. @throws DomainError spec_… with the line, UserError */
export async function readSpec(path: string): Promise<Spec> {
  const markdown = await readableFile(path, 'The spec')
  const spec = parseSpec(markdown)
  return { markdown, title: spec.title, requirements: spec.requirements.length, hash: createHash('sha256').update(markdown).digest('hex') }
}

export type Source = { readonly kind: 'new'; readonly slug: string; readonly readme?: string; readonly swarmYml?: string } | { readonly kind: 'import'; readonly origin: string; readonly slug: string }

const ADDRESS = /^([a-z][a-z0-9+.-]*:\/\/|[\w.-]+@[\w.-]+:)/i

/**
 * Looks at the repository that the user named without changing anything in it. `files` (the spec, a script) may lie in it
 * uncommitted.
 * @throws UserError, DomainError: no folder, not git, no commits, uncommitted changes
 */
export async function readSource(repo: string, options: { allowDirty: boolean; files: readonly string[] }): Promise<Source> {
  if (ADDRESS.test(repo)) return { kind: 'import', origin: repo, slug: slugOf(basename(repo).replace(/^.*:/, '').replace(/\.git$/, '')) }
  const path = userPath(repo)
  const found = await stat(path).catch(() => null)
  if (found === null) throw new UserError('origin_missing', `There is nothing at ${path}.`, 'Give the path of a git repository (relative to the folder that you call from), or its address; --new NAME makes an empty one.')
  if (!found.isDirectory()) throw new UserError('not_a_repository', `${path} is a file, not a git repository.`, 'Give the folder of a git repository; --new NAME makes an empty one.')
  const top = await git(path, ['rev-parse', '--absolute-git-dir', '--show-cdup'], { okCodes: [0, 128] })
  const [, up = ''] = top.stdout.split('\n')
  if (top.code !== 0 || up !== '') {
    throw new UserError('not_a_repository', up === '' ? `${path} is not a git repository.` : `${path} is a folder inside of a git repository, not its root.`,
      up === '' ? 'Run "git init", commit what is there and try again; or let --new NAME make an empty repository.' : `Give its root: --repo ${join(path, up)}`)
  }
  await resolveCommit(path, 'HEAD').catch((error: unknown) => {
    if (error instanceof DomainError && error.code === 'unknown_revision') throw new UserError('repository_without_commits', `The repository ${path} has no commits.`, 'Make a first one there ("git commit --allow-empty -m start") and run this again; or let --new NAME make an empty repository.')
    throw error
  })
  if (!options.allowDirty) await requireClean(path, options.files)
  return { kind: 'import', origin: path, slug: slugOf(basename(path)) }
}

async function requireClean(path: string, allowed: readonly string[]): Promise<void> {
  const status = await git(path, ['status', '--porcelain', '-z', '--ignore-submodules', '--untracked-files=all'], { okCodes: [0, 128] })
  if (status.code !== 0) return // bare: there is no work tree to be dirty
  const skip = new Set(allowed.map((file) => relative(path, file)))
  const changed = status.stdout.split('\0').filter((entry) => /^.. /.test(entry)).map((entry) => entry.slice(3)).filter((file) => !skip.has(file))
  if (changed.length === 0) return
  const shown = `${changed.slice(0, 3).join(', ')}${changed.length > 3 ? ` and ${changed.length - 3} more` : ''}`
  throw new UserError('repository_dirty', `The work tree ${path} has uncommitted changes (${shown}), and only what is committed is worked on.`, 'Commit or stash them first, or say --allow-dirty to work on the last commit; your files are not touched either way.')
}

/** A name made fit for projects and repositories: lower-case letters, digits and hyphens. */
export function slugOf(name: string): string {
  const slug = name.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-+|-+$/g, '').slice(0, 50).replace(/-+$/, '')
  return slug === '' ? 'repository' : slug
}

/** The path as the user would write it, where that is shorter. */
export function shownPath(path: string): string {
  const short = relative(callerFolder(), path)
  return short !== '' && !short.startsWith('..') && short.length < path.length ? short : path
}
