import { z } from 'zod'
import { command } from '../../command.ts'
import { decideFromCommandLine } from './decide.ts'

export const approvalApprove = command({
  name: 'approval approve',
  summary: 'Approves exactly what is shown now',
  examples: [['swarm approval approve APR-7Q2M9XKD', 'authorises that one action, once']],
  arguments: [{ name: 'id', description: 'the approval' }],
  options: [{ flags: '--reason <text>', description: 'recorded with the decision' }, { flags: '--hash <sha256>', description: 'the payload that you saw; refused if it is about something else by now' }],
  input: z.object({ id: z.string(), reason: z.string().default(''), hash: z.string().optional() }),
  run: (input, context) => decideFromCommandLine('approved', input, context),
})
