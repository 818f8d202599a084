import { join } from 'node:path'
import { DomainError } from '@swarm/core/errors.ts'
import { rightsChanged } from '../../authorization/rights.ts'
import type { Context } from '../../context.ts'
import { currentCorrelationId } from '../../correlation.ts'
import type { Duty } from '../../coordinator/duty.ts'
import { appendEvents } from '../../events/events.ts'
import { createOutbox } from '../../integrations/mailers/outbox.ts'
import { createSmtpMailer } from '../../integrations/mailers/smtp.ts'
import type { Accounts } from '../../ports.ts'
import { composer } from './compose.ts'
import type { Engine } from './engine.ts'
import { githubApp } from './github.ts'
import { userIdentifier } from './identify.ts'
import { registerKeys } from './keys.ts'
import { forgetMails, mailDuty } from './mails.ts'
import { registerOrganizations } from './organizations.ts'
import { membershipsOf, openInvitationsTo, userById } from './queries.ts'
import { registerSignIn } from './routes.ts'
import { ensureAccountsSecret } from './secret.ts'
import { userEvent, welcome, type Act } from './service.ts'
import { ensureSetupLink } from './setup-link.ts'
import type { StorageReactions } from './storage.ts'
import { registerUsers } from './users.ts'

const DAY_MS = 24 * 60 * 60_000
const HOUSEKEEPING_MS = 60 * 60_000

export interface AccountsFeature extends Accounts { readonly duties: readonly Duty[] }

/** Registers accounts and lets users in (`http.identifyUser`). The duties are the coordinator's to run. */
export async function createAccounts(context: Context): Promise<AccountsFeature> {
  const { config, db, http, clock, logger } = context
  const secret = await ensureAccountsSecret(config)
  const github = await githubApp(config.accounts.github)
  const actBy = (id: string): Act => ({ by: `user ${id}`, now: clock(), correlationId: currentCorrelationId() })

  const reactions: StorageReactions = {
    async created(trx, model, row) {
      const user = model === 'user' ? String(row['id']) : String(row['user_id'])
      if (model === 'user') await welcome(trx, { id: user, email: String(row['email']) }, actBy(user))
      if (model === 'session') await appendEvents(trx, [userEvent('user:session_started', user, actBy(user), { loginId: row['id'] })])
      if (model === 'account' && row['provider_id'] !== 'credential') await appendEvents(trx, [userEvent('user:linked', user, actBy(user), { provider: row['provider_id'] })])
    },
    async deleted(trx, model, rows) {
      if (model !== 'session') return
      await appendEvents(trx, rows.map((row) => userEvent('user:session_ended', String(row['user_id']), actBy(String(row['user_id'])), { loginId: row['id'] })))
      for (const userId of new Set(rows.map((row) => String(row['user_id'])))) await rightsChanged(trx, { userId })
    },
  }
  let made: { baseUrl: string; engine: Promise<Engine> } | undefined
  /** Made at the first sign-in: only then is known at which port this server listens, and better-auth takes half a second of a start. */
  const engine = (): Promise<Engine> => {
    const baseUrl = http.publicUrl()
    if (made?.baseUrl !== baseUrl) {
      made = { baseUrl, engine: import('./engine.ts').then(({ createEngine }) => createEngine(context, {
        baseUrl, secret, github, sessionDays: config.accounts.sessionDays, reactions,
        mayRegister: async (email) => config.accounts.registration === 'open' || (config.accounts.registration === 'invite' && (await openInvitationsTo(db.read, email, clock())).length > 0),
        isDisabled: async (userId) => (await userById(db.read, userId))?.disabled_at != null,
      })) }
    }
    return made.engine
  }

  registerSignIn(context, { engine, secret, github: github !== null })
  registerUsers(context)
  registerOrganizations(context, secret)
  registerKeys(context)
  http.identifyUser = userIdentifier({ db, now: clock, sessionMs: config.accounts.sessionDays * DAY_MS })
  http.whenListening(() => ensureSetupLink(db, config.home, http.publicUrl(), clock()))

  const mailer = config.mail.smtpUrl ? createSmtpMailer(config.mail.smtpUrl, config.mail.from) : createOutbox(join(config.home, 'outbox'), config.mail.from)
  return {
    organizationId: async (trx, idOrSlug) => {
      const row = await trx.selectFrom('organizations').select('id').where((eb) => eb.or([eb('id', '=', idOrSlug), eb('slug', '=', idOrSlug)])).executeTakeFirst()
      if (!row) throw new DomainError('not_found', { kind: 'organization', id: idOrSlug })
      return row.id
    },
    membershipsOf: async (userId) => (await membershipsOf(db.read, userId)).map(({ organizationId, role }) => ({ organizationId, role })),
    findUsers: async (ids) => (ids.length === 0 ? [] : db.read.selectFrom('users').select(['id', 'email', 'name']).where('id', 'in', ids).execute()),
    usersWithRole: async (organizationId, role) => db.read.selectFrom('members').innerJoin('users', 'users.id', 'members.user_id').select(['users.id', 'email', 'name'])
      .where('organization_id', '=', organizationId).where('role', '=', role).where('disabled_at', 'is', null).orderBy('email').execute(),
    duties: [mailDuty({ db, mailer, compose: composer({ db, secret, baseUrl: http.publicUrl, now: clock }), now: clock, logger }), housekeeping(context)],
  }
}

/** Removes what has run out, once an hour, and renews the link of the first set-up. */
function housekeeping({ config, db, http, clock }: Context): Duty {
  let nextAt = clock() + HOUSEKEEPING_MS
  return {
    name: 'accounts housekeeping',
    async run() {
      const now = clock()
      if (now < nextAt) return false
      await ensureSetupLink(db, config.home, http.publicUrl(), now)
      await db.write(async (trx) => {
        for (const table of ['user_sessions', 'verifications', 'device_codes'] as const) await trx.deleteFrom(table).where('expires_at', '<', now).execute()
        await trx.deleteFrom('guesses').where('last_at', '<', now - 2 * DAY_MS).execute()
        await trx.deleteFrom('invitations').where('kind', '=', 'registration').where('expires_at', '<', now).where('accepted_at', 'is', null).execute()
        await forgetMails(trx, now)
      })
      nextAt = now + HOUSEKEEPING_MS
      return false
    },
    nextAt: async () => nextAt,
  }
}
