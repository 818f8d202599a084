import { password, isCancel } from '@clack/prompts'
import { text as readAll } from 'node:stream/consumers'
import { SECRET_VALUE_MAX, setSecret } from '@swarm/contract/endpoints/secrets.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { userPath } from '../../config.ts'
import { UserError } from '../../errors.ts'
import type { Io } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { readableFile } from '../../run/inputs.ts'

/** Far more than any value: what is longer is refused by the server, with the reason. */
const READ_CHARS = 2 * SECRET_VALUE_MAX

export const secretSet = command({
  name: 'secret set',
  summary: 'Keeps a secret that Swarm adds to requests of microVMs to the hosts that it is bound to',
  description: 'The value is read from standard input, a file, or typed unseen in a terminal; it is never an argument, and nobody is shown it again. It never enters a microVM. The hosts must be on the allow-list of the project as well. Setting it again replaces value, hosts and header.',
  examples: [
    ['swarm secret set registry --project shop --host npm.example.com < token.txt', 'sent as "Authorization: Bearer …"'],
    ['swarm secret set api --host api.example.com --header x-api-key', 'for every project, in a header of its own; asks for the value'],
    ['swarm secret set mirror --project shop --host git.example.com --basic-user x-access-token --from-file token.txt', 'as HTTP Basic'],
  ],
  arguments: [{ name: 'name', description: 'lower-case letters, digits, hyphens and underscores' }],
  options: [
    { flags: '--host <host...>', description: 'exact hosts that get it' }, { flags: '--project <name>', description: 'for microVMs of this project alone, by id or slug; for all unless given' },
    { flags: '--header <header>', description: 'the header that it is sent in; authorization unless given' }, { flags: '--format <text>', description: 'what that header is, with {secret} in the place of the value; "Bearer {secret}" for authorization, else the value alone' },
    { flags: '--basic-user <name>', description: 'send it as the password of HTTP Basic with this user instead' }, { flags: '--from-file <file>', description: 'read the value from this file' },
  ],
  input: z.object({
    name: z.string(), host: z.array(z.string(), { error: 'name the hosts that get it' }).min(1), project: z.string().optional(),
    header: z.string().optional(), format: z.string().optional(), basicUser: z.string().optional(), fromFile: z.string().optional(),
  }).refine(({ header, format, basicUser }) => basicUser === undefined || (header === undefined && format === undefined), { path: ['basicUser'], error: 'HTTP Basic has a header and a format of its own: leave --header and --format out' }),
  async run({ name, host, project, header = 'authorization', format, basicUser, fromFile }, { io, settings, signal }) {
    const value = (fromFile === undefined ? await typed(io) : await readableFile(userPath(fromFile), 'The file of the value')).replace(/\r?\n$/, '').slice(0, READ_CHARS)
    const injection = basicUser === undefined ? { kind: 'header' as const, header, format: format ?? (header.toLowerCase() === 'authorization' ? 'Bearer {secret}' : '{secret}') } : { kind: 'basic' as const, username: basicUser }
    const secret = await connect(settings().config).client.call(setSecret, { body: { name, hosts: host, injection, value, ...(project === undefined ? {} : { projectId: project }) } }, { signal })
    return { json: secret, text: `${secret.id} ${secret.name}, version ${secret.version}: for ${secret.hosts.join(', ')}${secret.projectId === null ? '' : ` in ${secret.projectId}`}` }
  },
})

async function typed(io: Io): Promise<string> {
  if (!io.interactive) return readAll(process.stdin)
  const value = await password({ message: 'Value (it is not shown)', output: process.stderr })
  if (isCancel(value)) throw new UserError('cancelled', 'No value was given.', 'Nothing was changed.')
  return value
}
