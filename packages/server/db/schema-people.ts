/*
 * Tables of people: their accounts, what they may do and did, and the secrets that they keep here. The other tables: schema.ts.
 */

/** Columns of users, sessions, credentials, verifications, two_factors and device_codes are as better-auth's models want them (features/accounts/storage.ts). */
export interface UsersTable {
  id: string; email: string; name: string; image: string | null
  email_verified: number
  /** 1: may do everything in this installation. */
  super_admin: number
  two_factor_enabled: number
  /** Neither signs in nor is let in with what they have. */
  disabled_at: number | null
  created_at: number; updated_at: number
}
/** `token_hash`: SHA-256 of the token in the cookie; the token itself is kept nowhere. `seen_at`: last use, to the hour. */
export interface UserSessionsTable { id: string; user_id: string; token_hash: string; ip_address: string | null; user_agent: string | null; expires_at: number; seen_at: number; created_at: number; updated_at: number }
/** A way in: `credential` with the hash of the password, or an account elsewhere, whose tokens are not kept. */
export interface UserCredentialsTable {
  id: string; user_id: string; provider_id: string; account_id: string; issuer: string | null; password: string | null
  access_token: string | null; refresh_token: string | null; id_token: string | null; scope: string | null
  access_token_expires_at: number | null; refresh_token_expires_at: number | null
  created_at: number; updated_at: number
}
/** Short-lived secrets under a hashed name: links of resets, states of OAuth, challenges of second factors. */
export interface VerificationsTable { id: string; identifier: string; value: string; expires_at: number; created_at: number; updated_at: number }
/** Secret and backup codes are encrypted with the secret of accounts. */
export interface TwoFactorsTable { id: string; user_id: string; secret: string; backup_codes: string; verified: number; failed_verification_count: number; locked_until: number | null }
/** Requests of devices (RFC 8628); `device_code` is a hash. */
export interface DeviceCodesTable {
  id: string; device_code: string; user_code: string; status: string; user_id: string | null; client_id: string | null; scope: string | null
  expires_at: number; last_polled_at: number | null; polling_interval: number | null
}
export interface OrganizationsTable { id: string; slug: string; name: string; created_at: number }
/** Roles: core/policy/actions.ts. */
export interface MembersTable { organization_id: string; user_id: string; role: string; created_at: number }
/** Links that make an account, or a member of somebody who has one. */
export interface InvitationsTable {
  id: string
  /** setup: the first super_admin; invitation: a member; registration: an account, for whoever reads mail at that address. */
  kind: string
  token_hash: string; email: string | null; organization_id: string | null; role: string | null
  invited_by: string; expires_at: number; created_at: number
  accepted_at: number | null; accepted_by: string | null; revoked_at: number | null
}
/** Failed tries (core/accounts/guessing.ts); `subject` is a keyed hash of an e-mail or network address. */
export interface GuessesTable { kind: string; subject: string; failures: number; last_at: number }
/** Mails to send; what they say is made when they are sent, so that no secret waits here. */
export interface MailsTable {
  id: string; kind: string; recipient: string; data: string
  /** queued | sent | dropped (nobody has that address) | failed */
  state: string
  tries: number; next_try_at: number; failure: string | null; correlation_id: string; created_at: number; ended_at: number | null
}
export interface SecretsTable {
  id: string; organization_id: string
  /** Null: it is the organisation's, for each of its projects. */
  project_id: string | null
  /** Which of the two has it, in one word: names are unique in it. */
  scope: string
  name: string
  /** JSON Injection (core/secrets/injection.ts). */
  injection: string
  version: number
  /** base64: the value under a key of its own, and that key under the installation's, which `key_id` names (envelope.ts). */
  sealed: string; wrapped_key: string; key_id: string
  created_at: number; created_by: string; updated_at: number; updated_by: string
  last_used_at: number | null
}
export interface SecretHostsTable { secret_id: string; scope: string; host: string; header: string }
/** Members of a single project, beside what they are in its organisation. */
export interface ProjectMembersTable { project_id: string; user_id: string; role: string; added_by: string; created_at: number }
/** Policies of an organisation. `cedar` null: not one of its own, but its word about a shipped one (enabled or not). */
export interface PoliciesTable {
  organization_id: string; id: string; summary: string; cedar: string | null
  enabled: number; version: number
  changed_by: string; changed_at: number
}
/** Who was about to do what, and what the policies said (allow | deny | approval). Written before the act; nothing is ever changed or removed. */
export interface AuditEntriesTable {
  id: string; at: number
  principal_kind: string; principal_id: string; token_id: string | null
  action: string; resource_kind: string; resource_id: string
  organization_id: string | null; project_id: string | null
  outcome: string
  /** JSON string[]: ids of the policies that decided. */
  policies: string
  via: string; correlation_id: string
}
/** How it ended: HTTP status and code of the error. Missing where the server stopped in between. */
export interface AuditOutcomesTable { entry_id: string; status: number; code: string | null; at: number }
/** A board as somebody wants to see it. `settings` is JSON ViewSettings (contract/endpoints/views.ts); `owner_id` is a user, or `admin`. */
export interface ViewsTable {
  id: string; owner_id: string
  /** The project that it shows; null: all that its owner may see. */
  project_id: string | null
  name: string
  /** 1: everybody in the project sees it. */
  shared: number
  settings: string; changed_by: string; created_at: number; updated_at: number
}
/** A key of a POST and what it was answered; `status` null while it runs, `answer` null where it must not be kept. */
export interface IdempotencyKeysTable { principal: string; key: string; request_digest: string; status: number | null; answer: string | null; created_at: number }
