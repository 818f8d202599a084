import { assertRevision, git } from './run.ts'

/** Paths of the newest `commits` commits of `revision`, merges left out, one list a commit, newest first; a rename is both of its paths. Errors: as `git`. */
export async function filesOfCommits(repoPath: string, revision: string, commits: number): Promise<string[][]> {
  const { stdout } = await git(repoPath, ['log', '--no-merges', '--no-renames', `--max-count=${commits}`, '-z', '--name-only', '--format=%x01', '--end-of-options', assertRevision(revision), '--'])
  return stdout.split('\x01').slice(1).map((commit) => commit.split('\0').map((path) => path.replace(/^\n/, '')).filter((path) => path !== ''))
}
