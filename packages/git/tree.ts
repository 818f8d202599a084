import { resolveCommit, git, type GitOptions } from './run.ts'

/** One entry of a tree; `bytes` is 0 for anything but a file. */
export interface TreeEntry { readonly mode: string; readonly type: string; readonly object: string; readonly bytes: number; readonly path: string }

/**
 * Everything in a commit's tree, folders opened, in git's order.
 * @param paths only these, by their exact names. Errors: `unknown_revision`
 */
export async function treeEntries(repoPath: string, revision: string, paths: readonly string[] = [], options: GitOptions = {}): Promise<TreeEntry[]> {
  const commit = await resolveCommit(repoPath, revision, options)
  const listed = await git(repoPath, ['ls-tree', '-r', '-l', '-z', '--full-tree', commit, ...(paths.length === 0 ? [] : ['--', ...paths])], { ...options, env: { ...options.env, GIT_LITERAL_PATHSPECS: '1' } })
  return listed.stdout.split('\0').flatMap((line) => {
    const match = /^(\d+) (\w+) ([0-9a-f]+) +(\d+|-)\t([^]*)$/.exec(line)
    return match === null ? [] : [{ mode: match[1] ?? '', type: match[2] ?? '', object: match[3] ?? '', bytes: match[4] === '-' ? 0 : Number(match[4]), path: match[5] ?? '' }]
  })
}
