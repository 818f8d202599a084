import { z } from 'zod'
import { MAX_OUTPUT_BYTES, runCommand } from './command.ts'
import { defineTool, type Tool } from './tool.ts'

const DEFAULT_TIMEOUT_SECONDS = 120
const MAX_TIMEOUT_SECONDS = 900

export const bashTool: Tool = defineTool({
  name: 'bash',
  description: `Runs a shell command (sh -c) in the workspace, without a terminal, and gives its output and exit code. Output over ${MAX_OUTPUT_BYTES} bytes loses its middle, which is stated. Everything that the command started is killed when it ends, background processes too. The network is reached through a proxy that allows listed hosts only; a refusal says why.`,
  input: z.object({
    command: z.string().min(1),
    timeout_seconds: z.number().int().min(1).max(MAX_TIMEOUT_SECONDS).optional().describe(`Default ${DEFAULT_TIMEOUT_SECONDS}.`),
  }),
  async run(input, context) {
    const seconds = input.timeout_seconds ?? DEFAULT_TIMEOUT_SECONDS
    const result = await runCommand(input.command, { cwd: context.workspace.root, timeoutMs: seconds * 1_000, emit: context.emit, signal: context.signal })
    const ending = result.timedOut ? `[killed after ${seconds} s]` : result.exitCode === null ? `[killed by ${result.signal}]` : `[exit code ${result.exitCode}]`
    return `${result.output}${result.output === '' || result.output.endsWith('\n') ? '' : '\n'}${ending}`
  },
})
