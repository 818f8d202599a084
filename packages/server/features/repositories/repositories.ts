import { createRepository, importRepository, listRepositories, pushRepository, repositoryHead, showRepository } from '@swarm/contract/endpoints/repositories.ts'
import { INSTALLATION } from '../../authorization/resources.ts'
import type { Database } from '../../db/database.ts'
import { requireAlso } from '../../http/authorize.ts'
import { isLocalOrigin } from '../../integrations/builtin-code-host/origin.ts'
import { register, type HttpTarget } from '../../http/register.ts'
import { presentRepository } from './present.ts'
import { listRepositoryRows } from './queries.ts'
import { createRepositoryService, type RepositoryDependencies, type RepositoryService } from './service.ts'

/** The repositories of projects: made, imported, shown and pushed back. Registers its routes. */
export function createRepositories(context: { readonly http: HttpTarget; readonly db: Database }, deps: Omit<RepositoryDependencies, 'db'>): RepositoryService {
  const { http, db } = context
  const service = createRepositoryService({ ...deps, db })

  register(http, createRepository, async ({ body }) => {
    const { repository, head } = await service.create(body)
    return { ...presentRepository(repository), head }
  })
  register(http, importRepository, async ({ body, request }) => {
    // The server's own machine belongs to no organisation: whoever may make repositories in one does not read its files.
    if (isLocalOrigin(body.source)) await requireAlso(http.authorization, request, 'repository:import-path', INSTALLATION)
    const { repository, ...result } = await service.import(body)
    return { ...presentRepository(repository), ...result }
  })
  register(http, listRepositories, async ({ query, projects }) => {
    const rows = await listRepositoryRows(db.read, { projects: await projects(), after: query.cursor, limit: query.limit + 1 })
    const page = rows.slice(0, query.limit)
    return { items: page.map(presentRepository), nextCursor: rows.length > query.limit ? page.at(-1)?.id ?? null : null }
  })
  register(http, showRepository, async ({ params }) => {
    const repository = await service.find(params.repositoryId)
    return { ...presentRepository(repository), path: service.pathOf(repository) }
  })
  register(http, repositoryHead, ({ params }) => service.head(params.repositoryId))
  register(http, pushRepository, ({ params }) => service.push(params.repositoryId))
  return service
}
