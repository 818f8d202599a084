import { invite } from '@swarm/contract/endpoints/organizations.ts'
import { ROLES } from '@swarm/core/policy/actions.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { time } from '../../io.ts'
import { connect } from '../../platform/connect.ts'

export const userInvite = command({
  name: 'user invite',
  summary: 'Invites somebody into an organisation by mail',
  description: 'Without an SMTP server (the setting mail.smtpUrl) the mail is a file in the folder outbox of the home folder: hand it on.',
  examples: [['swarm user invite somebody@example.org', 'as developer of the default organisation'], ['swarm user invite somebody@example.org --role viewer --organization acme', 'elsewhere, to look']],
  arguments: [{ name: 'email', description: 'the address' }],
  options: [{ flags: '--role <role>', description: `${ROLES.join(', ')}; developer unless given` }, { flags: '--organization <slug>', description: 'default unless given' }],
  input: z.object({ email: z.string(), role: z.enum(ROLES, `give one of ${ROLES.join(', ')}`).default('developer'), organization: z.string().default('default') }),
  async run({ email, role, organization }, { settings, signal }) {
    const made = await connect(settings().config).client.call(invite, { params: { organizationId: organization }, body: { email, role } }, { signal })
    return { json: made, text: `${made.id}: ${made.email} is invited as ${made.role}, until ${time(made.expiresAt)}` }
  },
})
