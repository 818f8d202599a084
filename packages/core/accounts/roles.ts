/** Roles in an organisation, the weakest first. Beside them a user may be `super_admin` of the whole installation. */
export const ROLES = ['viewer', 'developer', 'admin'] as const
export type Role = (typeof ROLES)[number]

/** The organisation that exists from the first start on; what belongs to none of its own belongs to it. */
export const DEFAULT_ORGANIZATION_ID = 'ORG-00000000'

/**
 * What an API key may be used for: `*` for all that its user may, `<resource>:*`, or `<resource>:<verb>` as policies name actions.
 * A key never reaches what protects the account itself (password, sessions, keys, second factor).
 */
export const SCOPE = /^(\*|[a-z][a-z_]{0,31}:(\*|[a-z][a-z_]{0,31}))$/
