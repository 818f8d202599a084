import { type ReferenceExpression, type SelectQueryBuilder, sql } from 'kysely'

/** Keeps a query to rows of these projects; `all` leaves it as it is. */
export function inProjects<DB, TB extends keyof DB, O>(query: SelectQueryBuilder<DB, TB, O>, column: ReferenceExpression<DB, TB>, projects: 'all' | readonly string[]): SelectQueryBuilder<DB, TB, O> {
  if (projects === 'all') return query
  return projects.length === 0 ? query.where(sql<boolean>`1 = 0`) : query.where(column, 'in', projects as never)
}
