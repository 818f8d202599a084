import type { ToolResultBlockParam, ToolUseBlockParam } from '@anthropic-ai/sdk/resources/messages'
import { bashTool } from '../../tools/bash.ts'
import { bounded } from '../../tools/bounded-output.ts'
import { askHumanDefinition, finishDefinition } from '../../tools/control.ts'
import { editFileTool, readFileTool, writeFileTool } from '../../tools/files.ts'
import { globTool, grepTool } from '../../tools/search.ts'
import { ToolError, type Tool, type ToolContext } from '../../tools/tool.ts'
import type { TaskOf } from '../template.ts'

const TOOLS: readonly Tool[] = [bashTool, readFileTool, writeFileTool, editFileTool, globTool, grepTool]
const SUMMARY_CHARS = 300

export type ToolName = TaskOf<'claude'>['config']['tools'][number]

/** The `tools` of a request. `finish` is always among them: without it no attempt could end well. */
export function toolDefinitions(enabled: readonly ToolName[]): { name: string; description: string; input_schema: Tool['inputSchema'] }[] {
  return [...TOOLS, askHumanDefinition, finishDefinition]
    .filter((tool) => tool.name === 'finish' || enabled.some((name) => name === tool.name))
    .map((tool) => ({ name: tool.name, description: tool.description, input_schema: tool.inputSchema }))
}

/** Runs one call. A fault that the model can mend, or a fault of the tool, is its answer with is_error; only an abort throws. */
export async function runTool(call: ToolUseBlockParam, enabled: readonly ToolName[], context: Omit<ToolContext, 'callId'>): Promise<ToolResultBlockParam> {
  const startedMs = performance.now()
  context.emit({ type: 'tool_call', id: call.id, tool: call.name, summary: summarise(call.input) })
  const answer = await attempt(call, enabled, { ...context, callId: call.id })
  context.emit({ type: 'tool_result', id: call.id, tool: call.name, ok: answer.ok, summary: bounded(answer.text, SUMMARY_CHARS), wallMs: performance.now() - startedMs })
  return { type: 'tool_result', tool_use_id: call.id, content: answer.text, ...(answer.ok ? {} : { is_error: true }) }
}

async function attempt(call: ToolUseBlockParam, enabled: readonly ToolName[], context: ToolContext): Promise<{ ok: boolean; text: string }> {
  const tool = TOOLS.find((candidate) => candidate.name === call.name && enabled.some((name) => name === call.name))
  if (tool === undefined) return { ok: false, text: `There is no tool ${call.name}. You have: ${toolDefinitions(enabled).map((definition) => definition.name).join(', ')}.` }
  try {
    return { ok: true, text: await tool.run(call.input, context) }
  } catch (error) {
    context.signal.throwIfAborted()
    if (!(error instanceof ToolError)) process.stderr.write(`tool ${call.name}: ${error instanceof Error ? error.stack : String(error)}\n`)
    return { ok: false, text: error instanceof Error ? error.message : String(error) }
  }
}

export function summarise(input: unknown): string {
  return bounded(JSON.stringify(input) ?? '', SUMMARY_CHARS)
}
