import { z } from 'zod'
import { command } from '../../command.ts'
import { decideFromCommandLine } from './decide.ts'

export const approvalReject = command({
  name: 'approval reject',
  summary: 'Rejects it',
  examples: [['swarm approval reject APR-7Q2M9XKD --reason "not now"', 'what it was for does not happen']],
  arguments: [{ name: 'id', description: 'the approval' }],
  options: [{ flags: '--reason <text>', description: 'recorded with the decision' }, { flags: '--hash <sha256>', description: 'the payload that you saw; refused if it is about something else by now' }],
  input: z.object({ id: z.string(), reason: z.string().default(''), hash: z.string().optional() }),
  run: (input, context) => decideFromCommandLine('rejected', input, context),
})
