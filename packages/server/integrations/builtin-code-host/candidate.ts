import { DomainError } from '@swarm/core/errors.ts'
import { git } from '@swarm/git/run.ts'
import { SWARM_IDENTITY, treeOf } from './bare.ts'

/** A file that both sides changed: the three texts (null: absent there, or no text). */
export interface ConflictedFile { readonly path: string; readonly base: string | null; readonly ours: string | null; readonly theirs: string | null }

export type Candidate =
  /** `sha` is `onto` itself when the change has nothing left to add. */
  | { readonly kind: 'clean'; readonly sha: string; readonly tree: string }
  | { readonly kind: 'conflict'; readonly mergeBase: string; readonly files: readonly ConflictedFile[]; readonly messages: string }
  | { readonly kind: 'unrelated' }

/** Largest text of one side that is kept as evidence. */
const MAX_SIDE_CHARS = 20_000

interface SourceCommit { readonly sha: string; readonly tree: string; readonly author: { name: string; email: string; date: string }; readonly message: string }

/**
 * The commits of `head` that `onto` lacks, rebased onto it, without a work tree. Authors, messages and trailers stay; the
 * committer is Swarm at `at` (whole seconds), so that the same input gives the same commit, and building again is harmless.
 *
 * A history with merges, or one whose single commits conflict though the whole does not, becomes one commit with the
 * message of its last. Moves no ref.
 */
export async function buildCandidate(path: string, input: { onto: string; head: string; at: number; signal?: AbortSignal }): Promise<Candidate> {
  const { onto, head, at } = input
  const options = input.signal ? { signal: input.signal } : {}
  const based = await git(path, ['merge-base', onto, head], { ...options, okCodes: [0, 1] })
  const mergeBase = based.stdout.trim().split('\n')[0] ?? ''
  if (based.code === 1 || mergeBase === '') return { kind: 'unrelated' }
  if (mergeBase === head) return { kind: 'clean', sha: onto, tree: await treeOf(path, onto) }
  const listed = (await git(path, ['rev-list', '--reverse', '--topo-order', '--parents', `${onto}..${head}`], options)).stdout.trim().split('\n').map((line) => line.split(' '))
  const linear = listed.every((line) => line.length === 2)
  if (linear) {
    const rebased = await replay(path, listed as [string, string][], onto, at, options)
    if (rebased !== null) return rebased
  }
  const whole = await mergeTrees(path, { base: mergeBase, ours: onto, theirs: head }, options)
  if (whole.kind === 'conflict') return { kind: 'conflict', mergeBase, files: whole.files, messages: whole.messages }
  const ontoTree = await treeOf(path, onto)
  if (whole.tree === ontoTree) return { kind: 'clean', sha: onto, tree: ontoTree }
  const last = await readCommit(path, head)
  return { kind: 'clean', sha: await writeCommit(path, last, whole.tree, onto, at), tree: whole.tree }
}

/** One commit after another onto `onto`; null when one of them conflicts. Commits that add nothing any more are left out. */
async function replay(path: string, commits: readonly (readonly [string, string])[], onto: string, at: number, options: { signal?: AbortSignal }): Promise<Candidate | null> {
  let tip = onto
  let tipTree = await treeOf(path, onto)
  for (const [sha, parent] of commits) {
    const commit = await readCommit(path, sha)
    // Nothing moved below it: it is the commit it was.
    if (parent === tip) {
      tip = sha
      tipTree = commit.tree
      continue
    }
    const merged = await mergeTrees(path, { base: parent, ours: tip, theirs: sha }, options)
    if (merged.kind === 'conflict') return null
    if (merged.tree === tipTree) continue
    tip = await writeCommit(path, commit, merged.tree, tip, at)
    tipTree = merged.tree
  }
  return { kind: 'clean', sha: tip, tree: tipTree }
}

type Merge = { kind: 'clean'; tree: string } | { kind: 'conflict'; files: ConflictedFile[]; messages: string }

/**
 * Three-way merge of trees by `git merge-tree --write-tree`. Its option --merge-base needs git 2.40; a commit that puts the
 * tree of `ours` on top of `base` makes git 2.38 and 2.39 find that same base by themselves.
 */
async function mergeTrees(path: string, sides: { base: string; ours: string; theirs: string }, options: { signal?: AbortSignal }): Promise<Merge> {
  const stand = (await git(path, ['commit-tree', `${sides.ours}^{tree}`, '-p', sides.base, '-m', 'merge'], { env: committerAt(0, { name: SWARM_IDENTITY.name, email: SWARM_IDENTITY.email, date: '0 +0000' }) })).stdout.trim()
  const merged = await git(path, ['merge-tree', '--write-tree', '-z', '--messages', stand, sides.theirs], { ...options, okCodes: [0, 1] })
  const fields = merged.stdout.split('\0')
  const tree = fields[0] ?? ''
  if (merged.code === 0) return { kind: 'clean', tree }
  const stages = new Map<string, Map<number, string>>()
  let index = 1
  for (; index < fields.length; index++) {
    const entry = /^\d{6} ([0-9a-f]+) ([123])\t([\s\S]+)$/.exec(fields[index] ?? '')
    if (!entry) break
    const [, blob = '', stage = '', name = ''] = entry
    const of = stages.get(name) ?? new Map<number, string>()
    stages.set(name, of.set(Number(stage), blob))
  }
  const files: ConflictedFile[] = []
  for (const [name, of] of stages) {
    files.push({ path: name, base: await side(path, of.get(1)), ours: await side(path, of.get(2)), theirs: await side(path, of.get(3)) })
  }
  return { kind: 'conflict', files, messages: fields.slice(index).filter((field) => /^(CONFLICT|Auto-merging)/.test(field)).join('').trim() }
}

async function side(path: string, blob: string | undefined): Promise<string | null> {
  if (blob === undefined) return null
  const { bytes } = await git(path, ['cat-file', 'blob', blob])
  if (bytes.subarray(0, 8_000).includes(0)) return null
  const text = bytes.toString('utf8')
  return text.length <= MAX_SIDE_CHARS ? text : `${text.slice(0, MAX_SIDE_CHARS)}\n[${text.length - MAX_SIDE_CHARS} more characters]\n`
}

async function readCommit(path: string, sha: string): Promise<SourceCommit> {
  const raw = (await git(path, ['cat-file', 'commit', sha])).stdout
  const split = raw.indexOf('\n\n')
  const header = raw.slice(0, split)
  const author = /^author (.*) <(.*)> (\d+ [+-]\d{4})$/m.exec(header)
  const tree = /^tree ([0-9a-f]+)$/m.exec(header)?.[1]
  if (!author || tree === undefined) throw new DomainError('git_failed', { command: `cat-file commit ${sha}`, exitCode: 0, stderr: 'the commit has no author line that can be read' })
  return { sha, tree, author: { name: author[1] ?? '', email: author[2] ?? '', date: author[3] ?? '' }, message: raw.slice(split + 2) }
}

function committerAt(at: number, author: { name: string; email: string; date: string }): Record<string, string> {
  return {
    GIT_AUTHOR_NAME: author.name === '' ? 'unknown' : author.name, GIT_AUTHOR_EMAIL: author.email, GIT_AUTHOR_DATE: `@${author.date}`,
    GIT_COMMITTER_NAME: SWARM_IDENTITY.name, GIT_COMMITTER_EMAIL: SWARM_IDENTITY.email, GIT_COMMITTER_DATE: `@${at} +0000`,
  }
}

async function writeCommit(path: string, source: SourceCommit, tree: string, parent: string, at: number): Promise<string> {
  return (await git(path, ['commit-tree', tree, '-p', parent, '-F', '-'], { input: source.message, env: committerAt(at, source.author) })).stdout.trim()
}


/** The two sides of a conflict per file, in words and unified text, for the next attempt. */
export function describeConflict(candidate: Extract<Candidate, { kind: 'conflict' }>, limit = 60_000): string {
  const part = (label: string, text: string | null) => `--- ${label}${text === null ? ' (absent or not a text)\n' : `\n${text}${text.endsWith('\n') ? '' : '\n'}`}`
  const text = [
    candidate.messages,
    ...candidate.files.map((file) => `=== ${file.path}\n${part('before both', file.base)}${part('on main now', file.ours)}${part('in this change', file.theirs)}`),
  ].filter((piece) => piece !== '').join('\n\n')
  return text.length <= limit ? text : `${text.slice(0, limit)}\n[${text.length - limit} more characters; see the files themselves]`
}
