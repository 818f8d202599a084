import { createHash } from 'node:crypto'
import type { Client } from '@swarm/contract/client.ts'
import { createSession, listSessions, retrySession, showSession, type DesignSession } from '@swarm/contract/endpoints/design.ts'
import { createProject, listProjects, type Project } from '@swarm/contract/endpoints/projects.ts'
import { createRepository, importRepository, listRepositories, showRepository, type Repository } from '@swarm/contract/endpoints/repositories.ts'
import type { Io } from '../io.ts'
import type { Source, Spec } from './inputs.ts'

export interface Target { readonly projectId: string; readonly repository: Repository; /** The bare repository on this machine. */ readonly path: string }

/**
 * The project and repository of a source: the same ones every time for the same path or address, brought up to date with it.
 * Two sources of the same name get projects of different names.
 */
export async function prepareTarget(client: Client, source: Source, io: Io, signal: AbortSignal): Promise<Target> {
  const repositories = await all((cursor) => client.call(listRepositories, { query: { limit: 200, ...cursor } }, { signal }))
  const projects = await all((cursor) => client.call(listProjects, { query: { limit: 200, ...cursor } }, { signal }))
  const known = source.kind === 'import' ? repositories.find(({ origin }) => origin === source.origin)
    : repositories.find(({ origin, slug, projectId }) => origin === null && slug === source.slug && projects.some((each) => each.id === projectId && each.slug === source.slug))
  let project: Project | undefined = known && projects.find(({ id }) => id === known.projectId)
  if (!project) {
    // A project without a repository is one whose making was cut off, or one that was made for this.
    const taken = projects.find(({ slug }) => slug === source.slug)
    const usable = taken && !repositories.some(({ projectId }) => projectId === taken.id)
    const slug = !taken || usable ? source.slug : `${source.slug}-${createHash('sha256').update(source.kind === 'import' ? source.origin : 'new').digest('hex').slice(0, 6)}`
    project = projects.find((each) => each.slug === slug) ?? await client.call(createProject, { body: { slug } }, { signal })
  }
  const projectId = project.id
  let repository: Repository
  if (source.kind === 'new') {
    repository = known ?? await client.call(createRepository, { body: { projectId, slug: source.slug, readme: source.readme, swarmYml: source.swarmYml } }, { signal })
  } else {
    const imported = await client.call(importRepository, { body: { projectId, slug: known?.slug ?? source.slug, source: source.origin } }, { signal })
    for (const note of imported.notes) io.say(`  ${note}`)
    repository = imported
  }
  const { path } = await client.call(showRepository, { params: { repositoryId: repository.id } }, { signal })
  return { projectId, repository, path }
}

/** Sessions that this command starts carry the digest of their spec in the correlation id, and which run began them. */
export interface SessionMark { readonly ofSpec: string; readonly ofRun: string }
export function sessionMark(spec: Spec): SessionMark {
  const ofSpec = `run-${spec.hash.slice(0, 32)}`
  return { ofSpec, ofRun: `${ofSpec}-${crypto.randomUUID().slice(0, 8)}` }
}

/**
 * The session of this spec on this repository: the unfinished one of an earlier run that was cut off, else a new one. Asked
 * again by the same run, it gives the one that was made.
 */
export async function openSession(client: Client, target: Target, mark: SessionMark, spec: Spec, options: { fresh: boolean; clarify?: boolean; maxCostMicroUsd: number; io: Io; signal: AbortSignal }): Promise<{ session: DesignSession; resumed: boolean }> {
  const { signal, io } = options
  const sessions = await all((cursor) => client.call(listSessions, { query: { projectId: target.projectId, limit: 200, ...cursor } }, { signal }))
  const made = sessions.find(({ correlationId }) => correlationId === mark.ofRun)
  if (made) return { session: made, resumed: false }
  if (!options.fresh) {
    const earlier = sessions.find((session) => session.repositoryId === target.repository.id && session.correlationId.startsWith(mark.ofSpec) && session.state !== 'completed' && session.state !== 'cancelled')
    if (earlier) {
      const { can, plan, state } = await client.call(showSession, { params: { sessionId: earlier.id } }, { signal })
      if (state !== 'failed') {
        io.say(`going on with ${earlier.id}, which an earlier run of this spec left unfinished (--fresh starts anew)`)
        return { session: earlier, resumed: true }
      }
      // A design that failed goes on where its journal ends; a build that failed is planned anew on what it merged.
      if (can.retry && plan === null) {
        io.say(`taking up the design ${earlier.id}, which failed before; its finished steps are not paid again (--fresh starts anew)`)
        return { session: await client.call(retrySession, { params: { sessionId: earlier.id } }, { signal }), resumed: true }
      }
    }
  }
  const session = await client.call(createSession, {
    body: { projectId: target.projectId, repositoryId: target.repository.id, spec: spec.markdown, clarify: options.clarify ? 'auto' : 'off', ...(options.maxCostMicroUsd > 0 ? { maxCostMicroUsd: options.maxCostMicroUsd } : {}) },
  }, { signal, correlationId: mark.ofRun })
  return { session, resumed: false }
}

/** Every item of a paged list. */
export async function all<T>(page: (cursor: { cursor?: string }) => Promise<{ items: T[]; nextCursor: string | null }>): Promise<T[]> {
  const items: T[] = []
  for (let cursor: string | null | undefined; cursor !== null;) {
    const next = await page(cursor === undefined ? {} : { cursor })
    items.push(...next.items)
    cursor = next.nextCursor
  }
  return items
}
