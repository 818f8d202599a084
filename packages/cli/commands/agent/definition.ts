import { AgentDefinition } from '@swarm/contract/endpoints/agents.ts'
import { parse } from 'yaml'
import { userPath } from '../../config.ts'
import { UserError } from '../../errors.ts'
import { readableFile } from '../../run/inputs.ts'

/** An agent definition from a YAML or JSON file. @throws UserError that names the field */
export async function readDefinition(file: string): Promise<AgentDefinition> {
  const path = userPath(file)
  const text = await readableFile(path, 'The agent definition')
  const wrong = (problem: string): UserError => new UserError('agent_definition_invalid', `The agent definition ${path} cannot be used: ${problem}.`, '"swarm agent show developer" prints one to start from.')
  let content: unknown
  try {
    content = parse(text)
  } catch (error) {
    throw wrong(error instanceof Error ? error.message.split('\n')[0] ?? error.message : String(error))
  }
  const parsed = AgentDefinition.safeParse(content)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  throw wrong(`${issue?.path.join('.') || 'the whole file'}: ${issue?.message ?? 'not valid'}`)
}
