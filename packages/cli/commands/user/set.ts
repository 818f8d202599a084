import { updateUser } from '@swarm/contract/endpoints/accounts.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

const YesNo = z.enum(['yes', 'no'], 'give yes or no').transform((word) => word === 'yes').optional()

export const userSet = command({
  name: 'user set',
  summary: 'Makes a user super_admin or not, or disables one',
  description: 'Who is disabled is out at once: sessions and API keys end.',
  examples: [['swarm user set somebody@example.org --super-admin yes', 'may do everything here'], ['swarm user set somebody@example.org --disabled yes', 'may do nothing any more']],
  arguments: [{ name: 'user', description: 'e-mail address or id' }],
  options: [{ flags: '--super-admin <yes|no>', description: 'whether they administer this installation' }, { flags: '--disabled <yes|no>', description: 'whether they are kept out' }],
  input: z.object({ user: z.string(), superAdmin: YesNo, disabled: YesNo }),
  async run({ user: name, superAdmin, disabled }, { settings, signal }) {
    const user = await connect(settings().config).client.call(updateUser, { params: { userId: name }, body: { ...(superAdmin === undefined ? {} : { superAdmin }), ...(disabled === undefined ? {} : { disabled }) } }, { signal })
    return { json: user, text: `${user.email} is ${user.superAdmin ? 'super_admin' : 'no super_admin'} and ${user.disabled ? 'disabled' : 'active'}` }
  },
})
