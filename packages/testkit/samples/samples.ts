import { cpSync, existsSync, mkdirSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { git } from '@swarm/git/run.ts'

/** A repository that exists, a spec for it, and a script that a user wrote. */
export interface Sample {
  readonly name: string
  /** Folder with the repository's files; no git repository yet. */
  readonly repository: string
  readonly spec: string
  readonly script: string
}

const SAMPLES = ['units'] as const
const AUTHOR = { GIT_AUTHOR_NAME: 'Sample', GIT_AUTHOR_EMAIL: 'sample@swarm.internal', GIT_AUTHOR_DATE: '@1700000000 +0000', GIT_COMMITTER_NAME: 'Sample', GIT_COMMITTER_EMAIL: 'sample@swarm.internal', GIT_COMMITTER_DATE: '@1700000000 +0000' }

/** `units`: a command that converts units, eight source files with tests. Undefined for a name that is none. */
export function findSample(name: string): Sample | undefined {
  if (!SAMPLES.some((known) => known === name)) return undefined
  const at = (path: string): string => fileURLToPath(new URL(`${name}/${path}`, import.meta.url))
  return { name, repository: at('repository'), spec: at('spec.md'), script: at('rehearsal.yml') }
}

/**
 * Makes a git repository of a sample in `folder` (made when absent, must be empty): its files in one commit on main. The same
 * commit id every time.
 * @returns that commit
 */
export async function makeSampleRepository(sample: Sample, folder: string): Promise<string> {
  if (existsSync(folder) && readdirSync(folder).length > 0) throw new Error(`${folder} is not empty`)
  mkdirSync(folder, { recursive: true })
  cpSync(sample.repository, folder, { recursive: true })
  await git(folder, ['init', '--quiet', '--initial-branch=main'])
  await git(folder, ['add', '--all'])
  await git(folder, ['commit', '--quiet', '--message', 'Convert lengths, masses and times'], { env: AUTHOR })
  return (await git(folder, ['rev-parse', 'HEAD'])).stdout.trim()
}
