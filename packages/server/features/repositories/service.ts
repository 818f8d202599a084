import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { DomainError } from '@swarm/core/errors.ts'
import type { Database } from '../../db/database.ts'
import { signal } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import { commitFiles, compareAndSet, createBare, followRef, readRef, repositoryPath, treeOf } from '../../integrations/builtin-code-host/bare.ts'
import { type OriginRules, requirePublicOrigin } from '../../integrations/builtin-code-host/origin-address.ts'
import { assertOrigin, fetchOrigin, inspectOrigin, isLocalOrigin, pushToOrigin, type ImportOutcome } from '../../integrations/builtin-code-host/origin.ts'
import { insertRepository, projectNamed, repositoryById, repositoryBySlugs, repositoryOfProject, type LocatedRepository } from './queries.ts'

export interface RepositoryDependencies {
  readonly db: Database
  /** SWARM_HOME/repositories */
  readonly root: string
  readonly makeId: (kind: 'repository') => string
  readonly now: () => number
  /** Reads a swarm.yml text; throws `swarm_yml_invalid`. */
  readonly checkSwarmYml: (text: string) => void
  /** Which hosts may be reached to import from and push to. */
  readonly origins: OriginRules
}

export interface RepositoryService {
  /** Errors: `not_found`, `repository_exists`, `swarm_yml_invalid`. Same input again, with the repository unmoved: same answer. */
  create(input: { projectId: string; slug: string; readme?: string | undefined; gitignore: string; swarmYml?: string | undefined }): Promise<{ repository: LocatedRepository; head: string }>
  /** First time, or again: see `fetchOrigin` for what moves. */
  import(input: { projectId: string; slug: string; source: string; branch?: string | undefined }): Promise<{ repository: LocatedRepository; head: string; outcome: ImportOutcome; notes: string[] }>
  find(repositoryId: string): Promise<LocatedRepository>
  findBySlugs(projectSlug: string, slug: string): Promise<LocatedRepository>
  pathOf(repository: Pick<LocatedRepository, 'project_slug' | 'slug'>): string
  /** The default branch's commit and tree. Errors: `repository_without_commits`. */
  head(repositoryId: string): Promise<{ branch: string; sha: string; tree: string }>
  push(repositoryId: string): Promise<{ head: string; origin: string }>
  setRef(repositoryId: string, ref: string, sha: string): Promise<void>
  resolve(repositoryId: string, ref: string): Promise<string | null>
}

export function createRepositoryService(deps: RepositoryDependencies): RepositoryService {
  const { db, root } = deps
  const pathOf: RepositoryService['pathOf'] = (repository) => repositoryPath(root, repository.project_slug, repository.slug)
  const find = async (id: string) => {
    const repository = await repositoryById(db.read, id)
    if (!repository) throw new DomainError('not_found', { kind: 'repository', id })
    return repository
  }
  const project = async (idOrSlug: string) => {
    const found = await projectNamed(db.read, idOrSlug)
    if (!found) throw new DomainError('not_found', { kind: 'project', id: idOrSlug })
    return found
  }
  const mayReach = async (origin: string): Promise<void> => {
    assertOrigin(origin)
    if (!isLocalOrigin(origin)) await requirePublicOrigin(origin, deps.origins)
  }
  /** The row comes after the folder: a crash between them leaves a folder that the next try takes as it is. */
  const record = async (owner: { id: string; slug: string }, slug: string, branch: string, origin: string | null): Promise<LocatedRepository> => {
    const row = { id: deps.makeId('repository'), project_id: owner.id, slug, default_branch: branch, origin, created_at: deps.now() }
    await db.write(async (trx) => {
      if (!await insertRepository(trx, row)) return
      await appendEvents(trx, [{ type: 'repository:created', projectId: owner.id, subject: { kind: 'repository', id: row.id }, data: { slug, branch, origin } }])
    })
    const stored = await repositoryOfProject(db.read, owner.id, slug)
    if (!stored) throw new DomainError('not_found', { kind: 'repository', id: slug })
    return stored
  }

  return {
    find, pathOf,

    async findBySlugs(projectSlug, slug) {
      const repository = await repositoryBySlugs(db.read, projectSlug, slug)
      if (!repository) throw new DomainError('not_found', { kind: 'repository', id: `${projectSlug}/${slug}` })
      return repository
    },

    async create(input) {
      const owner = await project(input.projectId)
      if (await repositoryOfProject(db.read, owner.id, input.slug)) throw new DomainError('repository_exists', { slug: input.slug })
      if (input.swarmYml !== undefined) deps.checkSwarmYml(input.swarmYml)
      const path = repositoryPath(root, owner.slug, input.slug)
      await mkdir(dirname(path), { recursive: true, mode: 0o700 })
      await createBare(path, 'main', async (draft) => {
        await commitFiles(draft, 'main', {
          'README.md': input.readme ?? `# ${input.slug}\n`, '.gitignore': input.gitignore,
          ...(input.swarmYml === undefined ? {} : { 'swarm.yml': input.swarmYml }),
        }, 'Start the repository\n')
      })
      const repository = await record(owner, input.slug, 'main', null)
      if (repository.origin !== null) throw new DomainError('repository_exists', { slug: input.slug })
      return { repository, head: await requireHead(path, repository) }
    },

    async import(input) {
      const owner = await project(input.projectId)
      const known = await repositoryOfProject(db.read, owner.id, input.slug)
      if (known && known.origin !== input.source) throw new DomainError('repository_exists', { slug: input.slug })
      await mayReach(input.source)
      await mkdir(root, { recursive: true, mode: 0o700 })
      const offered = await inspectOrigin(root, input.source, input.branch ?? known?.default_branch)
      if (known && offered.branch !== known.default_branch) throw new DomainError('repository_exists', { slug: input.slug })
      const path = repositoryPath(root, owner.slug, input.slug)
      await mkdir(dirname(path), { recursive: true, mode: 0o700 })
      let first = false
      await createBare(path, offered.branch, async (draft) => {
        await fetchOrigin(draft, input.source, offered.branch)
        first = true
      })
      const repository = known ?? await record(owner, input.slug, offered.branch, input.source)
      const fetched = await fetchOrigin(path, input.source, offered.branch)
      const outcome = first ? 'imported' as const : fetched.outcome
      if (outcome === 'imported' || outcome === 'fast_forwarded') {
        await db.write(async (trx) => {
          await appendEvents(trx, [{ type: 'repository:imported', projectId: owner.id, subject: { kind: 'repository', id: repository.id }, data: { outcome, head: fetched.head, previous: first ? null : fetched.previous } }])
          signal(trx, 'work')
        })
      }
      const notes = offered.dirty ? [`${input.source} has uncommitted changes; only what is committed on ${offered.branch} was imported.`] : []
      return { repository, head: fetched.head, outcome, notes }
    },

    async head(repositoryId) {
      const repository = await find(repositoryId)
      const path = pathOf(repository)
      const sha = await requireHead(path, repository)
      return { branch: repository.default_branch, sha, tree: await treeOf(path, sha) }
    },

    async push(repositoryId) {
      const repository = await find(repositoryId)
      if (repository.origin === null) throw new DomainError('no_origin', { repository: repository.slug })
      await mayReach(repository.origin)
      const { head } = await pushToOrigin(pathOf(repository), repository.origin, repository.default_branch)
      await followRef(pathOf(repository), `refs/swarm/origin/${repository.default_branch}`, head)
      await db.write((trx) => appendEvents(trx, [{ type: 'repository:pushed', projectId: repository.project_id, subject: { kind: 'repository', id: repository.id }, data: { head, origin: repository.origin } }]))
      return { head, origin: repository.origin }
    },

    async setRef(repositoryId, ref, sha) {
      if (!ref.startsWith('refs/swarm/')) throw new DomainError('invalid_input', { problem: `${ref} is not a ref of Swarm's own`, field: 'ref' })
      const path = pathOf(await find(repositoryId))
      // Nearly always it is new: then git is started once.
      if (!await compareAndSet(path, ref, sha, null)) await followRef(path, ref, sha)
    },

    async resolve(repositoryId, ref) {
      return await readRef(pathOf(await find(repositoryId)), ref)
    },
  }
}

async function requireHead(path: string, repository: LocatedRepository): Promise<string> {
  const sha = await readRef(path, `refs/heads/${repository.default_branch}`)
  if (sha === null) throw new DomainError('repository_without_commits', { repository: repository.slug, branch: repository.default_branch })
  return sha
}
