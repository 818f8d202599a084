import { blobsOf, type EvidenceStatement } from '@swarm/contract/evidence.ts'
import { openBundle, readEnvelope, sha256 } from '@swarm/contract/evidence-envelope.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { git, resolveCommit } from '@swarm/git/run.ts'
import type { Keys, Source, TrustedKey } from './source.ts'

const invalid = (problem: string): DomainError => new DomainError('evidence_invalid', { problem })

/**
 * The statement of a bundle whose signature holds, and the key. A key that only came with the bundle proves nothing about who signed it.
 * @throws DomainError evidence_invalid, evidence_key_unknown
 */
export function openTrusted(source: Source, trusted: Keys): { statement: EvidenceStatement; keyId: string; key: TrustedKey } {
  const { signature } = readEnvelope(source.bytes)
  const key = trusted.get(signature.keyid)
  // Said of a damaged file even where the key is unknown: it is not valid, whoever signed it.
  const embedded = source.keys.get(signature.keyid)
  if (!key && embedded) openBundle(source.bytes, new Map([[signature.keyid, embedded.key]]))
  if (!key) throw new DomainError('evidence_key_unknown', { keyId: signature.keyid })
  return { ...openBundle(source.bytes, new Map([[signature.keyid, key.key]])), key }
}

export interface BlobReport { readonly named: number; readonly checked: number; readonly missing: readonly string[] }

/** Compares the contents that are at hand with what the bundle says of them. @throws DomainError evidence_invalid, evidence_blob_missing */
export function checkBlobs(statement: EvidenceStatement, source: Source, allowMissing: boolean): BlobReport | null {
  const named = blobsOf(statement)
  if (!source.blob) return null
  const missing: string[] = []
  for (const digest of named) {
    const content = source.blob(digest)
    if (content === null) missing.push(digest)
    else if (`sha256:${sha256(content)}` !== digest) throw invalid(`the content ${digest} was altered`)
  }
  const strange = (source.given ?? []).filter((digest) => !named.includes(digest))
  if (strange.length > 0) throw invalid(`${strange[0]} lies among its contents and is none of them`)
  if (missing.length > 0 && !allowMissing) throw new DomainError('evidence_blob_missing', { count: missing.length, digest: missing[0] })
  return { named: named.length, checked: named.length - missing.length, missing }
}

export interface RepositoryReport { readonly path: string; readonly main: string; /** Commits that this repository does not have, so that nothing can be said of them. */ readonly absent: readonly string[] }

/** Whether a repository bears out what the bundle says of commits and trees, and main contains the merge. @throws DomainError evidence_invalid, not_a_repository */
export async function checkRepository({ predicate }: EvidenceStatement, path: string, signal: AbortSignal): Promise<RepositoryReport> {
  const { commits, repository } = predicate
  const run = async (args: readonly string[]) => (await git(path, args, { signal, okCodes: [0, 1, 128] })).code === 0
  const has = (sha: string) => run(['cat-file', '-e', `${sha}^{commit}`])
  const treeOf = async (sha: string) => (await git(path, ['rev-parse', '--verify', '--end-of-options', `${sha}^{tree}`], { signal })).stdout.trim()
  await resolveCommit(path, 'HEAD')

  if (!await has(commits.merged)) throw invalid(`the repository has no commit ${commits.merged}, which was merged`)
  if (await treeOf(commits.merged) !== commits.tree) throw invalid(`the commit ${commits.merged} has another tree`)
  const branches = [`refs/heads/${repository.defaultBranch}`, `refs/remotes/origin/${repository.defaultBranch}`]
  const present: string[] = []
  for (const ref of branches) if (await run(['rev-parse', '--verify', '--quiet', '--end-of-options', ref])) present.push(ref)
  const main = await firstOf(present, (ref) => run(['merge-base', '--is-ancestor', commits.merged, ref]))
  if (main === undefined) throw invalid(present.length === 0 ? `the repository has no branch ${repository.defaultBranch}` : `${repository.defaultBranch} does not contain ${commits.merged}`)

  const absent: string[] = []
  for (const sha of new Set([commits.base, commits.head, ...commits.proof ? [commits.proof.commit] : []])) if (!await has(sha)) absent.push(sha)
  if (!absent.includes(commits.base) && !await run(['merge-base', '--is-ancestor', commits.base, commits.merged])) throw invalid('what was merged does not come from the base')
  if (commits.proof && !absent.includes(commits.proof.commit)) {
    if (await treeOf(commits.proof.commit) !== commits.proof.tree) throw invalid(`the commit ${commits.proof.commit} that was checked has another tree`)
    if (commits.proof.tree !== commits.tree && !await run(['merge-base', '--is-ancestor', commits.merged, commits.proof.commit])) throw invalid('what was checked does not contain what was merged')
  }
  return { path, main, absent }
}

async function firstOf<T>(items: readonly T[], holds: (item: T) => Promise<boolean>): Promise<T | undefined> {
  for (const item of items) if (await holds(item)) return item
  return undefined
}
