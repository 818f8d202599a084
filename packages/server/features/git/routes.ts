import { DomainError } from '@swarm/core/errors.ts'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Readable } from 'node:stream'
import { isPerson } from '../../authorization/rights.ts'
import type { Read } from '../../db/database.ts'
import type { HttpTarget } from '../../http/register.ts'
import { MAX_COMMAND_BYTES } from './commands.ts'
import { refRules, refSettings } from './refs.ts'
import { serveGit, type GitService } from './serve.ts'

export interface GitDependencies {
  readonly read: Read
  readonly now: () => number
  /** Finds a repository by its slugs. Errors: `not_found`. */
  readonly locate: (projectSlug: string, repositorySlug: string) => Promise<{ id: string; path: string }>
  /** Largest pack that a push may bring, bytes. */
  readonly maxPushBytes: number
}

/** Wants and haves of one fetch: 50 bytes a line, so more than a million of them. */
const MAX_FETCH_REQUEST_BYTES = 64 * 1024 * 1024

/** `/git/<project>/<repository>`: fetch and push over smart HTTP, for admin, attempt and check tokens. */
export function registerGit(http: HttpTarget, deps: GitDependencies): void {
  const serve = async (request: FastifyRequest, reply: FastifyReply, service: GitService, body: Readable | null) => {
    const { project, repo } = request.params as { project: string; repo: string }
    const repository = await deps.locate(project, repo.endsWith('.git') ? repo.slice(0, -4) : repo)
    if (isPerson(request.principal)) {
      const { principal, id: correlationId } = request
      await http.authorization.require(principal, 'repository:read', await http.authorization.resolve('repository:read', 'repository', repository.id), {
        asked: { kind: 'repository', id: `${project}/${repo}` }, via: `git ${service}`, correlationId, request: { repository: repository.id, service },
      })
    }
    const rules = await refRules(deps.read, request.principal, repository.id, deps.now())
    if (service === 'receive-pack' && rules.push === null) throw new DomainError('wrong_caller', { kind: request.principal.kind, needed: 'attempt' })
    const stream = await serveGit({
      path: repository.path, service, settings: refSettings(service, rules, deps.maxPushBytes), body,
      gzip: request.headers['content-encoding'] === 'gzip' || request.headers['content-encoding'] === 'x-gzip',
      pushPrefix: service === 'receive-pack' ? rules.push : null,
      maxBodyBytes: service === 'upload-pack' ? MAX_FETCH_REQUEST_BYTES : deps.maxPushBytes + MAX_COMMAND_BYTES,
      signal: request.gone,
      onFailure: (exitCode, stderr) => { request.log.info({ repository: repository.id, service, exitCode, stderr, principal: request.principal.id }, 'git ended with an error') },
    })
    return reply.header('cache-control', 'no-cache, max-age=0, must-revalidate').header('pragma', 'no-cache').header('expires', 'Fri, 01 Jan 1980 00:00:00 GMT')
      .type(`application/x-git-${service}-${body === null ? 'advertisement' : 'result'}`).send(stream)
  }
  // Which repository it is, the handler finds out.
  const config = { access: ['person', 'attempt', 'check'], action: 'repository:read', on: 'visible' } as const

  void http.app.register(async (scope) => {
    for (const service of ['upload-pack', 'receive-pack'] as const) {
      // The body stays a stream: a pack is never held in memory.
      scope.addContentTypeParser(`application/x-git-${service}-request`, (_request, payload, done) => { done(null, payload) })
    }
    scope.route({
      method: 'GET', url: '/git/:project/:repo/info/refs', config,
      schema: { summary: 'Lists refs (git smart HTTP)', tags: ['git'], security: [{ token: [] }] },
      handler: async (request, reply) => {
        const { service } = request.query as { service?: unknown }
        if (service !== 'git-upload-pack' && service !== 'git-receive-pack') throw new DomainError('invalid_input', { problem: 'only git\'s smart HTTP protocol is spoken here', field: 'query.service' })
        return await serve(request, reply, service === 'git-upload-pack' ? 'upload-pack' : 'receive-pack', null)
      },
    })
    for (const service of ['upload-pack', 'receive-pack'] as const) {
      scope.route({
        method: 'POST', url: `/git/:project/:repo/git-${service}`, config,
        schema: { summary: service === 'upload-pack' ? 'Fetches (git smart HTTP)' : 'Pushes (git smart HTTP)', tags: ['git'], security: [{ token: [] }] },
        handler: (request, reply) => {
          if (!(request.body instanceof Readable)) throw new DomainError('invalid_input', { problem: `a body of type application/x-git-${service}-request is missing`, field: 'body' })
          return serve(request, reply, service, request.body)
        },
      })
    }
  })
}
