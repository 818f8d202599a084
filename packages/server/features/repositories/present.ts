import type { Repository } from '@swarm/contract/endpoints/repositories.ts'
import type { RepositoryRow } from './queries.ts'

export function presentRepository(row: RepositoryRow): Repository {
  return { id: row.id, projectId: row.project_id, slug: row.slug, defaultBranch: row.default_branch, origin: row.origin, createdAt: row.created_at }
}
