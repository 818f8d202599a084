import { z } from 'zod'
import { bounded } from './bounded-output.ts'
import { runProcess } from './process.ts'
import { defineTool, ToolError, type Tool, type ToolContext } from './tool.ts'

const MAX_FILES = 500
const MAX_MATCHES = 200
const MAX_LINE_CHARS = 400
const SEARCH_TIMEOUT_MS = 60_000

/* Both ask git: it knows what is ignored, and it is in every image. */

export const globTool: Tool = defineTool({
  name: 'glob',
  description: `Lists files of the workspace that match a glob (** crosses folders), sorted; ignored files are left out. At most ${MAX_FILES} are listed.`,
  input: z.object({ pattern: z.string().min(1).describe('For example src/**/*.js or **/*.md; ** alone lists everything.') }),
  async run(input, context) {
    const { exitCode, output } = await git(['ls-files', '--cached', '--others', '--exclude-standard', '--deduplicate', '-z', '--', `:(glob)${input.pattern}`], context, 4_000_000)
    if (exitCode !== 0) throw new ToolError(`The pattern was refused: ${output.trim()}`)
    const deleted = new Set((await git(['ls-files', '--deleted', '-z'], context, 4_000_000)).output.split('\0'))
    const files = output.split('\0').filter((name) => name !== '' && !deleted.has(name)).sort()
    if (files.length === 0) return 'No file matches.'
    const shown = files.slice(0, MAX_FILES).join('\n')
    return files.length > MAX_FILES ? `${shown}\n[${files.length - MAX_FILES} more files match; narrow the pattern]` : shown
  },
})

export const grepTool: Tool = defineTool({
  name: 'grep',
  description: `Searches the files of the workspace (not ignored, not binary) for an extended regular expression; answers path:line:text. At most ${MAX_MATCHES} lines are given.`,
  input: z.object({
    pattern: z.string().min(1).describe('POSIX extended regular expression.'),
    glob: z.string().min(1).optional().describe('Only in files that match this glob, for example src/**/*.js.'),
    ignore_case: z.boolean().optional(),
  }),
  async run(input, context) {
    const { exitCode, output } = await git([
      'grep', '--untracked', '--line-number', '--no-color', '-I', '-E', ...(input.ignore_case === true ? ['--ignore-case'] : []), '-e', input.pattern, '--', ...(input.glob === undefined ? [] : [`:(glob)${input.glob}`]),
    ], context, 2_000_000)
    if (exitCode === 1 && output === '') return 'No line matches.'
    if (exitCode !== 0) throw new ToolError(`The search was refused: ${bounded(output.trim(), 1_000)}`)
    const lines = output.split('\n').filter((line) => line !== '')
    const shown = lines.slice(0, MAX_MATCHES).map((line) => bounded(line, MAX_LINE_CHARS)).join('\n')
    return lines.length > MAX_MATCHES ? `${shown}\n[${lines.length - MAX_MATCHES} more lines match; narrow the pattern]` : shown
  },
})

async function git(args: string[], context: ToolContext, maxOutputBytes: number): ReturnType<typeof runProcess> {
  const result = await runProcess(['git', '-c', 'core.quotePath=false', ...args], { cwd: context.workspace.root, maxOutputBytes, timeoutMs: SEARCH_TIMEOUT_MS, signal: context.signal })
  if (result.timedOut) throw new ToolError(`The search took longer than ${SEARCH_TIMEOUT_MS / 1_000} s; narrow it.`)
  return result
}
