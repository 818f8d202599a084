import { z } from 'zod'
import type { Emit } from '../agents/template.ts'
import type { Workspace } from './workspace.ts'
import type { FileMemory } from './file-memory.ts'

export interface ToolContext {
  workspace: Workspace
  memory: FileMemory
  emit: Emit
  /** Fires when the attempt is over. */
  signal: AbortSignal
  /** Id of this call (`toolu_…`). */
  callId: string
}

/** A tool of an agent. `run` resolves with the text for the model; an expected fault is a ToolError, whose message it reads. */
export interface Tool {
  name: string
  description: string
  /** JSON schema of the input, as the Messages API takes it. */
  inputSchema: { type: 'object'; [key: string]: unknown }
  /** Validates, then runs. @throws ToolError for every fault that the model can mend. */
  run(input: unknown, context: ToolContext): Promise<string>
}

export class ToolError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'ToolError'
  }
}

export function defineTool<Input extends z.ZodObject>(definition: {
  name: string
  description: string
  input: Input
  run(input: z.infer<Input>, context: ToolContext): Promise<string>
}): Tool {
  return {
    name: definition.name,
    description: definition.description,
    inputSchema: jsonSchemaOf(definition.input),
    run: async (input, context) => definition.run(parseInput(definition.name, definition.input, input), context),
  }
}

/** @throws ToolError that lists each wrong field. */
export function parseInput<Input extends z.ZodObject>(name: string, schema: Input, input: unknown): z.infer<Input> {
  const parsed = schema.safeParse(input)
  if (parsed.success) return parsed.data
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'input'}: ${issue.message}`)
  throw new ToolError(`The input of ${name} is not valid: ${problems.join('; ')}. Nothing was done; call it again with a valid input.`)
}

export function jsonSchemaOf(schema: z.ZodObject): Tool['inputSchema'] {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: 'input' })
  return { ...rest, type: 'object' }
}
