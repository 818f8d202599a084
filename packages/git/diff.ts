import { DomainError } from '@swarm/core/errors.ts'
import type { ChangeSet, FileChange, FileVersion, Mention } from '@swarm/core/output/change.ts'
import { assertRevision, git, type GitOptions } from './run.ts'

/** Texts above this are not read: the gate speaks of their size alone. */
export const MAX_TEXT_BYTES = 2 * 1024 * 1024
/** Contents are asked for in batches of about this many bytes, so that a large change does not fill the memory twice. */
const BATCH_BYTES = 64 * 1024 * 1024
const MAX_TOTAL_TEXT_BYTES = 512 * 1024 * 1024
const BINARY_PROBE_BYTES = 8_000

/** One file that differs between two trees, as `git diff-tree --raw` tells it. */
export interface RawEntry {
  readonly oldMode: string
  readonly newMode: string
  readonly oldId: string
  readonly newId: string
  readonly status: string
  readonly oldPath: string
  readonly path: string
}

/** The id of the empty tree in this repository (its hash algorithm decides). */
export async function emptyTree(repoPath: string): Promise<string> {
  return (await git(repoPath, ['hash-object', '-t', 'tree', '--stdin'])).stdout.trim()
}

/**
 * The tree that `revision` names: a commit, a tag, a tree, or the empty tree.
 * Errors: `invalid_revision`, `unknown_revision`, `not_a_repository`.
 */
export async function resolveTree(repoPath: string, revision: string, options: GitOptions = {}): Promise<string> {
  assertRevision(revision)
  const found = await git(repoPath, ['rev-parse', '--verify', '--quiet', '--end-of-options', `${revision}^{tree}`], { ...options, okCodes: [0, 1, 128] })
  if (found.code === 0) return found.stdout.trim()
  if (/not a git repository|dubious ownership/.test(found.stderr)) throw new DomainError('not_a_repository', { path: repoPath, stderr: found.stderr.trim() })
  // git knows the empty tree without having it; rev-parse --verify only wants the object.
  if (/^[0-9a-f]{40,64}$/.test(revision) && revision === (await emptyTree(repoPath))) return revision
  throw new DomainError('unknown_revision', { revision })
}

/**
 * What lies between two revisions, with the whole text of both sides of each file (up to `MAX_TEXT_BYTES`). Renames are
 * paired by git; submodules, symbolic links and binaries are told by mode and flag. `base` may be the empty tree. The two
 * trees are compared as they are: take the merge base first where the change's own part is meant (`mergeBase`).
 */
export async function readChange(repoPath: string, base: string, head: string, options: GitOptions = {}): Promise<ChangeSet> {
  const [from, to] = await Promise.all([resolveTree(repoPath, base, options), resolveTree(repoPath, head, options)])
  const entries = await rawEntries(repoPath, from, to, options)
  const versions = await readVersions(repoPath, entries, options)
  const listed = await git(repoPath, ['ls-tree', '-r', '-d', '-z', '--name-only', from], options)
  const version = (id: string, mode: string): FileVersion | null => {
    if (mode === '000000') return null
    if (mode === '160000') return { mode, sizeBytes: 0, binary: false, text: null }
    return { mode, ...(versions.get(id) ?? { sizeBytes: 0, binary: false, text: null }) }
  }
  const files = entries.map((entry): FileChange => ({
    status: statusOf(entry),
    path: entry.path,
    oldPath: entry.oldPath,
    before: version(entry.oldId, entry.oldMode),
    after: version(entry.newId, entry.newMode),
  }))
  return { files, fromNothing: from === (await emptyTree(repoPath)), baseFolders: new Set(listed.stdout.split('\0').filter((path) => path !== '')) }
}

/** The files that differ between two revisions, renames paired. Errors: `invalid_revision`, `unknown_revision`, `not_a_repository`. */
export async function readEntries(repoPath: string, base: string, head: string, options: GitOptions = {}): Promise<readonly RawEntry[]> {
  const [from, to] = await Promise.all([resolveTree(repoPath, base, options), resolveTree(repoPath, head, options)])
  return await rawEntries(repoPath, from, to, options)
}

async function rawEntries(repoPath: string, from: string, to: string, options: GitOptions): Promise<RawEntry[]> {
  // -l bounds the inexact search; the exact renames are found whatever the number.
  return parseRaw((await git(repoPath, ['diff-tree', '-r', '-z', '--raw', '--no-abbrev', '-M', '-l4000', from, to], options)).stdout)
}

/** The commit from which `head` went its own way, or `base` itself when they share no history (or base is a tree). */
export async function mergeBase(repoPath: string, base: string, head: string, options: GitOptions = {}): Promise<string> {
  const found = await git(repoPath, ['merge-base', '--end-of-options', assertRevision(base), assertRevision(head)], { ...options, okCodes: [0, 1, 128] })
  return found.code === 0 ? (found.stdout.split('\n')[0] as string) : base
}

/** Lines of `revision`'s text files that hold one of `words` as a whole word, at most `limit` of them. */
export async function findMentions(repoPath: string, revision: string, words: readonly string[], options: GitOptions & { limit?: number } = {}): Promise<Mention[]> {
  const wanted = words.filter((word) => word !== '' && !word.includes('\n'))
  if (wanted.length === 0) return []
  const tree = await resolveTree(repoPath, revision, options)
  const found = await git(repoPath, ['grep', '-n', '-z', '-w', '-F', '-I', '--no-color', '-f', '-', tree], { ...options, input: `${wanted.join('\n')}\n`, okCodes: [0, 1] })
  const mentions: Mention[] = []
  const limit = options.limit ?? 50_000
  let at = 0
  const text = found.stdout
  while (at < text.length && mentions.length < limit) {
    const pathEnd = text.indexOf('\0', at)
    const lineEnd = text.indexOf('\0', pathEnd + 1)
    if (pathEnd === -1 || lineEnd === -1) break
    let end = text.indexOf('\n', lineEnd + 1)
    if (end === -1) end = text.length
    mentions.push({ path: text.slice(at + tree.length + 1, pathEnd), line: Number(text.slice(pathEnd + 1, lineEnd)), text: text.slice(lineEnd + 1, end) })
    at = end + 1
  }
  return mentions
}

/** The text of one file at a revision, or null when it is not there or not a text. */
export async function readTextAt(repoPath: string, revision: string, path: string, options: GitOptions = {}): Promise<string | null> {
  const tree = await resolveTree(repoPath, revision, options)
  const found = await git(repoPath, ['cat-file', '--batch'], { ...options, input: `${tree}:${path}\n` })
  const head = found.bytes.indexOf(10)
  const [, type, size] = found.bytes.toString('utf8', 0, head).split(' ')
  if (type !== 'blob' || path.includes('\n')) return null
  const body = found.bytes.subarray(head + 1, head + 1 + Number(size))
  return looksBinary(body) ? null : body.toString('utf8')
}

function statusOf(entry: RawEntry): FileChange['status'] {
  const letter = entry.status[0]
  if (letter === 'A' || letter === 'C') return 'added'
  if (letter === 'D') return 'deleted'
  if (letter === 'R') return 'renamed'
  if (letter === 'T') return 'type_changed'
  return 'modified'
}

function parseRaw(text: string): RawEntry[] {
  const fields = text.split('\0')
  const entries: RawEntry[] = []
  for (let i = 0; i < fields.length && (fields[i] ?? '') !== '';) {
    const [oldMode, newMode, oldId, newId, status] = (fields[i] as string).slice(1).split(' ') as [string, string, string, string, string]
    const two = status.startsWith('R') || status.startsWith('C')
    const oldPath = fields[i + 1] as string
    const path = two ? (fields[i + 2] as string) : oldPath
    entries.push({ oldMode, newMode, oldId, newId, status, oldPath, path })
    i += two ? 3 : 2
  }
  return entries
}

type Content = Omit<FileVersion, 'mode'>

async function readVersions(repoPath: string, entries: readonly RawEntry[], options: GitOptions): Promise<Map<string, Content>> {
  const ids = new Set<string>()
  for (const entry of entries) {
    if (entry.oldMode !== '000000' && entry.oldMode !== '160000') ids.add(entry.oldId)
    if (entry.newMode !== '000000' && entry.newMode !== '160000') ids.add(entry.newId)
  }
  const contents = new Map<string, Content>()
  if (ids.size === 0) return contents
  const sizes = await git(repoPath, ['cat-file', '--batch-check=%(objectname) %(objectsize)'], { ...options, input: `${[...ids].join('\n')}\n` })
  let batch: string[] = []
  let batchBytes = 0
  let total = 0
  const flush = async () => {
    if (batch.length > 0) await readBatch(repoPath, batch, contents, options)
    batch = []
    batchBytes = 0
  }
  for (const row of sizes.stdout.split('\n')) {
    const [id, size] = row.split(' ')
    if (!id || size === undefined) continue
    const sizeBytes = Number(size)
    if (Number.isNaN(sizeBytes)) throw new DomainError('git_failed', { command: 'cat-file --batch-check', exitCode: 0, stderr: row })
    total += sizeBytes
    if (sizeBytes > MAX_TEXT_BYTES || total > MAX_TOTAL_TEXT_BYTES) {
      contents.set(id, { sizeBytes, binary: false, text: null })
      continue
    }
    batch.push(id)
    batchBytes += sizeBytes
    if (batchBytes > BATCH_BYTES) await flush()
  }
  await flush()
  return contents
}

async function readBatch(repoPath: string, ids: readonly string[], into: Map<string, Content>, options: GitOptions): Promise<void> {
  const { bytes } = await git(repoPath, ['cat-file', '--batch'], { ...options, input: `${ids.join('\n')}\n` })
  let at = 0
  while (at < bytes.length) {
    const end = bytes.indexOf(10, at)
    const [id, , size] = bytes.toString('utf8', at, end).split(' ') as [string, string, string]
    const body = bytes.subarray(end + 1, end + 1 + Number(size))
    const binary = looksBinary(body)
    into.set(id, { sizeBytes: body.length, binary, text: binary ? null : body.toString('utf8') })
    at = end + 1 + body.length + 1
  }
}

function looksBinary(bytes: Buffer): boolean {
  return bytes.subarray(0, BINARY_PROBE_BYTES).includes(0)
}
