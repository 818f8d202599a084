import { ANALYSIS_READS, analyseRepository, type RepositoryAnalysis } from '@swarm/core/design/analysis.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { git, resolveCommit } from '@swarm/git/run.ts'

/** Largest root file that the analysis reads, bytes. */
const MAX_READ_BYTES = 256 * 1024
const MAX_FILES = 20_000

/**
 * Commit of the default branch.
 * @throws DomainError repository_without_commits
 */
export async function baseCommit(repository: { path: string; slug: string; defaultBranch: string }): Promise<string> {
  try {
    return await resolveCommit(repository.path, `refs/heads/${repository.defaultBranch}`)
  } catch (error) {
    if (error instanceof DomainError && error.code === 'unknown_revision') {
      throw new DomainError('repository_without_commits', { repository: repository.slug, branch: repository.defaultBranch }, { cause: error })
    }
    throw error
  }
}

/** Analyses a commit of a bare repository; reads the tree and a few files at its root, writes nothing. */
export async function analyseCommit(path: string, sha: string, checks?: readonly { name: string; command: string }[]): Promise<RepositoryAnalysis> {
  // mode SP type SP object SP+ size TAB path
  const listed = await git(path, ['ls-tree', '-r', '-z', '-l', '--full-tree', sha])
  const files: string[] = []
  const readable = new Set<string>()
  for (const record of listed.stdout.split('\0')) {
    const match = /^\d+ blob [0-9a-f]+ +(\d+)\t([\s\S]+)$/.exec(record)
    if (!match?.[2] || files.length >= MAX_FILES) continue
    files.push(match[2])
    if (Number(match[1]) <= MAX_READ_BYTES) readable.add(match[2])
  }
  const texts: Record<string, string> = {}
  for (const name of ANALYSIS_READS) if (readable.has(name)) texts[name] = (await git(path, ['cat-file', 'blob', `${sha}:${name}`])).stdout
  return analyseRepository(files, texts, checks)
}
