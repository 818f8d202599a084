import { createHash } from 'node:crypto'
import { setupInputs, SETUP_READS } from '@swarm/core/checks/setup.ts'
import { readTextAt } from '@swarm/git/diff.ts'
import { assertRevision, git } from '@swarm/git/run.ts'
import { treeEntries } from '@swarm/git/tree.ts'
import { keep } from '../../keep.ts'
import type { WorkInputs } from '../../ports.ts'

export interface WorkInputsDependencies {
  /** Path of the bare repository, and the commit of its default branch. */
  readonly place: (repositoryId: string) => Promise<{ path: string; main: string }>
}

export function createWorkInputs(deps: WorkInputsDependencies): WorkInputs {
  const inputsAt = keep(readSetupInputs, (path, commit, command, stated) => JSON.stringify([path, commit, command, stated ?? null]))
  return {
    async image(repositoryId, { packages, npm, files = [] }) {
      const { path } = files.length === 0 ? { path: '' } : await deps.place(repositoryId)
      return { packages: [...packages], npm: [...npm], files: await Promise.all(files.map(async ({ path: to, mode, blob }) => ({ path: to, mode, content: await readBlob(path, blob) }))) }
    },
    async layer(repositoryId, { commit, base }, { setup, setupInputs: stated }) {
      if (setup === null) return null
      const { path, main } = await deps.place(repositoryId)
      const own = await inputsAt(path, commit, setup, stated)
      if (own === null) return null
      const ofMain = [...new Set([base ?? main, main])]
      const same = await Promise.all(ofMain.map(async (each) => (await inputsAt(path, each, setup, stated))?.inputs === own.inputs))
      return { inputs: own.inputs, paths: own.paths, make: same.includes(true) }
    },
  }
}

/** The files that this setup command reads at a commit, and the SHA-256 (hex) over their paths, modes and contents; null when that is not known. */
export async function readSetupInputs(path: string, commit: string, command: string, stated: readonly string[] | undefined): Promise<{ inputs: string; paths: string[] } | null> {
  const entries = await treeEntries(path, commit)
  const texts = new Map<string, string | null>()
  const read = entries.filter((entry) => entry.type === 'blob' && SETUP_READS.matches(entry.path))
  if (stated === undefined && read.length > SETUP_READS.most) return null
  if (stated === undefined) for (const entry of read) texts.set(entry.path, await readTextAt(path, commit, entry.path))
  const paths = setupInputs({ files: entries.filter(({ type }) => type === 'blob').map((entry) => entry.path), read: (name) => texts.get(name) ?? null }, command, stated)
  if (paths === null) return null
  const named = new Set(paths)
  const inputs = entries.filter((entry) => named.has(entry.path)).map((entry) => [entry.path, entry.mode, entry.object])
  // What a link leads to is not in its content.
  if (inputs.some(([, mode]) => mode === '120000')) return null
  return { inputs: createHash('sha256').update(JSON.stringify(inputs)).digest('hex'), paths }
}

/** Content of a git object, base64. */
async function readBlob(path: string, object: string): Promise<string> {
  return (await git(path, ['cat-file', 'blob', assertRevision(object)])).bytes.toString('base64')
}
