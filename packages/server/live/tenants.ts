import { DEFAULT_ORGANIZATION_ID } from '@swarm/core/accounts/roles.ts'
import type { Database } from '../db/database.ts'
import type { EventPage } from '../events/events.ts'

/** Which organisation the projects of events belong to, for the rooms `tenant:<id>`. A project never moves, so that each is asked for once. */
export interface Tenants {
  /** Learns the projects of a page; before `of` is asked about its events. */
  know(page: EventPage): Promise<EventPage>
  /** What is about no project is the installation's own, and goes to the organisation that it began with. */
  of(projectId: string | null): string
}

export function createTenants({ read }: Pick<Database, 'read'>): Tenants {
  const known = new Map<string, string>()
  return {
    async know(page) {
      const unknown = [...new Set(page.events.flatMap(({ projectId }) => (projectId === null || known.has(projectId) ? [] : [projectId])))]
      if (unknown.length > 0) for (const row of await read.selectFrom('projects').select(['id', 'organization_id']).where('id', 'in', unknown).execute()) known.set(row.id, row.organization_id)
      return page
    },
    of: (projectId) => (projectId === null ? undefined : known.get(projectId)) ?? DEFAULT_ORGANIZATION_ID,
  }
}
