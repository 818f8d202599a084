import { z } from 'zod'
import { jsonSchemaOf } from './tool.ts'

/* The two tools that end a run. They have no effect in the workspace: the loop acts on them. */

export const AskHumanInput = z.object({
  question: z.string().min(1).describe('One question, with what the person needs to know to answer it.'),
  options: z.array(z.string().min(1)).max(10).optional().describe('Answers to choose from, if there are a few.'),
})
export const FinishInput = z.object({ summary: z.string().min(1).describe('What was done and how it was checked, in a few sentences.') })

export const askHumanDefinition = {
  name: 'ask_human',
  description: 'Asks a person and waits for the answer. Only for a decision that the ticket leaves open and that you cannot take safely yourself. One question at a time.',
  inputSchema: jsonSchemaOf(AskHumanInput),
}
export const finishDefinition = {
  name: 'finish',
  description: 'Ends your work on this ticket. Call it once the acceptance criteria are met and the checks pass in the workspace. It does not count when another tool call of the same turn fails.',
  inputSchema: jsonSchemaOf(FinishInput),
}
