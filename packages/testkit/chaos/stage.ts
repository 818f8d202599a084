import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { createAgent } from '@swarm/contract/endpoints/agents.ts'
import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository, importRepository, showRepository } from '@swarm/contract/endpoints/repositories.ts'
import { git } from '@swarm/git/run.ts'
import { fleetAgents, GAMMA_FILES, SWARM_YML } from './fleet.ts'
import { vmProcesses } from './inject/processes.ts'
import type { Installation } from './installation.ts'
import type { People } from './people.ts'

/** The project, its repositories and the agents that the fleet works with. */
export async function populate(installation: Installation) {
  const { client, folder } = installation
  const project = await client.call(createProject, { body: { slug: 'chaos', settings: { concurrency: 8 } } })
  const [alpha, beta] = await Promise.all((['alpha', 'beta'] as const).map((slug) => client.call(createRepository, { body: { projectId: project.id, slug, swarmYml: SWARM_YML[slug] } })))
  const origin = join(folder, 'gamma-origin')
  mkdirSync(origin)
  await git(origin, ['init', '--quiet', '--bare', '--initial-branch=main'])
  const tree = await makeTree(origin, Object.entries(GAMMA_FILES))
  const commit = (await git(origin, ['-c', 'user.name=Elsewhere', '-c', 'user.email=elsewhere@example.com', 'commit-tree', '-m', 'Start elsewhere', tree])).stdout.trim()
  await git(origin, ['update-ref', 'refs/heads/main', commit])
  const imported = await client.call(importRepository, { body: { projectId: project.id, slug: 'gamma', source: origin } })
  const { path } = await client.call(showRepository, { params: { repositoryId: imported.id } })
  for (const agent of fleetAgents()) await client.call(createAgent, { body: agent })
  return { projectId: project.id, repositories: { alpha: alpha!.id, beta: beta!.id, gamma: imported.id }, gamma: { repositoryId: imported.id, path, origin } }
}

/** Until something is worked on: before, faults would hit nothing. The first microVM may have to be made from nothing. */
export async function begun(people: People, { signal, onNote }: { signal: AbortSignal; onNote: (line: string) => void }): Promise<void> {
  onNote('waiting for the first ticket to be worked on')
  while (!people.tickets().some(({ state }) => !['ready', 'claimed'].includes(state))) await delay(100, undefined, { signal })
}

/** Fair weather on every link, and a model without faults. */
export async function heal(installation: Installation): Promise<void> {
  installation.runnerLink.set({ kind: 'fair' })
  installation.modelLink.set({ kind: 'fair' })
  await fetch(`${installation.rehearsalUrl}/rehearsal/faults`, { method: 'DELETE' })
}

/** Waits until nothing is open and no microVM runs. @returns what is still open when the time is over, with its state */
export async function settle(people: People, installation: Installation, { signal, onNote }: { signal: AbortSignal; onNote: (line: string) => void }): Promise<string[]> {
  people.settle()
  const from = people.looks() + 1
  let said = Number.POSITIVE_INFINITY
  for (const until = performance.now() + installation.pace.settleMs; performance.now() < until;) {
    signal.throwIfAborted()
    const open = people.open()
    if (people.looks() > from && open.length === 0 && vmProcesses(installation).length === 0) return []
    if (open.length < said) onNote(`${open.length} tickets and designs are open`)
    said = Math.min(said, open.length)
    await delay(200, undefined, { signal })
  }
  return [...people.open(), ...vmProcesses(installation).map(({ name, processes }) => `microVM ${name}: ${processes.map(({ pid }) => pid).join(' ')}`)]
}

/** @param files path → text; paths of at most one folder. @returns the id of their tree */
async function makeTree(repository: string, files: readonly (readonly [string, string])[]): Promise<string> {
  const folders = new Map<string, [string, string][]>()
  let entries = ''
  for (const [path, text] of files) {
    const [folder, name] = path.includes('/') ? path.split('/') as [string, string] : [null, path]
    if (folder !== null) folders.set(folder, [...folders.get(folder) ?? [], [name, text]])
    else entries += `100644 blob ${(await git(repository, ['hash-object', '-w', '--stdin'], { input: text })).stdout.trim()}\t${name}\n`
  }
  for (const [folder, inside] of folders) entries += `040000 tree ${await makeTree(repository, inside)}\t${folder}\n`
  return (await git(repository, ['mktree'], { input: entries })).stdout.trim()
}
