import { z } from 'zod'
import { command } from '../../command.ts'
import { decideFromCommandLine } from './decide.ts'

export const approvalRevise = command({
  name: 'approval revise',
  summary: 'Sends it back with a reason',
  examples: [['swarm approval revise APR-7Q2M9XKD --reason "split the second ticket"', 'whoever works on it reads the reason']],
  arguments: [{ name: 'id', description: 'the approval' }],
  options: [{ flags: '--reason <text>', description: 'recorded with the decision' }, { flags: '--hash <sha256>', description: 'the payload that you saw; refused if it is about something else by now' }],
  input: z.object({ id: z.string(), reason: z.string({ error: 'say what is to be changed' }).min(1), hash: z.string().optional() }),
  run: (input, context) => decideFromCommandLine('revision_requested', input, context),
})
