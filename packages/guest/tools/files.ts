import { readFile, stat, writeFile } from 'node:fs/promises'
import { z } from 'zod'
import { defineTool, ToolError, type Tool, type ToolContext } from './tool.ts'
import { WorkspaceError, type WorkspacePath } from './workspace.ts'

/** Largest file that read_file gives, bytes (about 30,000 tokens). */
export const MAX_READ_BYTES = 100_000

const file = z.string().min(1).describe('Path of the file, relative to the workspace.')

export const readFileTool: Tool = defineTool({
  name: 'read_file',
  description: `Gives the exact content of a text file. Without start_line and end_line it gives the whole file, up to ${MAX_READ_BYTES} bytes; a larger file is refused and must be read by line ranges. Only a file read whole can be replaced by write_file.`,
  input: z.object({
    path: file,
    start_line: z.number().int().min(1).optional().describe('First line of a range, from 1.'),
    end_line: z.number().int().min(1).optional().describe('Last line of a range, included.'),
  }),
  async run(input, context) {
    const target = await existing(input.path, context)
    const content = await readText(target, input.start_line === undefined && input.end_line === undefined ? MAX_READ_BYTES : Number.POSITIVE_INFINITY)
    if (input.start_line === undefined && input.end_line === undefined) {
      context.memory.sawWhole(target.relative, content, context.callId)
      return content === '' ? '(The file is empty.)' : content
    }
    const lines = content.split('\n')
    if (lines.at(-1) === '') lines.pop()
    const start = input.start_line ?? 1
    const end = Math.min(input.end_line ?? lines.length, lines.length)
    if (start > end) throw new ToolError(`${input.path} has ${lines.length} lines; the range ${start} to ${input.end_line ?? 'end'} holds none.`)
    const range = lines.slice(start - 1, end).join('\n')
    if (Buffer.byteLength(range) > MAX_READ_BYTES) throw new ToolError(`Lines ${start} to ${end} of ${input.path} are larger than ${MAX_READ_BYTES} bytes; ask for fewer.`)
    return `[Part of ${input.path}: lines ${start} to ${end} of ${lines.length}]\n${range}`
  },
})

export const writeFileTool: Tool = defineTool({
  name: 'write_file',
  description: 'Writes a whole file. For a new file, or one that you have read whole with read_file and that has not changed since; anything else is refused. To change part of a file use edit_file.',
  input: z.object({ path: file, content: z.string().describe('The complete content of the file.') }),
  async run(input, context) {
    const target = await writable(input.path, context)
    if (target.exists) {
      const before = await readRaw(target)
      if (!context.memory.knows(target.relative, before)) {
        throw new ToolError(`${input.path} exists and you have not seen its present content whole, so it is not replaced. Use edit_file to change part of it, or read_file (whole) first.`)
      }
    }
    await context.workspace.makeParent(target)
    await writeFile(target.absolute, input.content)
    context.memory.sawWhole(target.relative, input.content, context.callId)
    return `${target.exists ? 'Replaced' : 'Created'} ${target.relative} (${Buffer.byteLength(input.content)} bytes).`
  },
})

export const editFileTool: Tool = defineTool({
  name: 'edit_file',
  description: 'Replaces one exact piece of text in a file. old_string must occur exactly once, character for character, white space included; give as much around it as makes it unique. For several edits call it several times.',
  input: z.object({
    path: file,
    old_string: z.string().min(1).describe('Exact text to replace; occurs exactly once in the file.'),
    new_string: z.string().describe('Text to put in its place; empty removes it.'),
  }),
  async run(input, context) {
    const target = await writable(input.path, context)
    if (!target.exists) throw new ToolError(`${input.path} does not exist. Use write_file to create it.`)
    const before = await readText(target, Number.POSITIVE_INFINITY)
    const at = before.indexOf(input.old_string)
    if (at === -1) throw new ToolError(`old_string does not occur in ${input.path}. Read the file again and copy the text exactly.`)
    if (before.indexOf(input.old_string, at + 1) !== -1) {
      throw new ToolError(`old_string occurs ${countOccurrences(before, input.old_string)} times in ${input.path}. Give more of the text around it, so that it is unique.`)
    }
    if (input.old_string === input.new_string) throw new ToolError('old_string and new_string are the same; nothing was changed.')
    const after = before.slice(0, at) + input.new_string + before.slice(at + input.old_string.length)
    const knewAll = context.memory.knows(target.relative, before)
    await writeFile(target.absolute, after)
    // Whoever knew all of it before knows all of it after; the edit itself shows only a part.
    if (knewAll) context.memory.sawWhole(target.relative, after, context.callId)
    const line = before.slice(0, at).split('\n').length
    return `Edited ${target.relative} at line ${line}.`
  },
})

function countOccurrences(text: string, piece: string): number {
  let count = 0
  for (let at = text.indexOf(piece); at !== -1; at = text.indexOf(piece, at + 1)) count++
  return count
}

async function existing(input: string, context: ToolContext): Promise<WorkspacePath> {
  return asToolError(() => context.workspace.resolveExisting(input))
}

async function writable(input: string, context: ToolContext): Promise<WorkspacePath> {
  return asToolError(() => context.workspace.resolveForWrite(input))
}

async function asToolError<Value>(step: () => Promise<Value>): Promise<Value> {
  try {
    return await step()
  } catch (error) {
    if (error instanceof WorkspaceError) throw new ToolError(error.message)
    throw error
  }
}

async function readRaw(target: WorkspacePath): Promise<Buffer> {
  const info = await stat(target.absolute)
  if (info.isDirectory()) throw new ToolError(`${target.relative} is a folder. List it with glob.`)
  if (!info.isFile()) throw new ToolError(`${target.relative} is not a regular file.`)
  return readFile(target.absolute)
}

async function readText(target: WorkspacePath, maxBytes: number): Promise<string> {
  const bytes = await readRaw(target)
  if (bytes.length > maxBytes) throw new ToolError(`${target.relative} has ${bytes.length} bytes, more than the ${maxBytes} that are given at once. Find the place with grep and read it with start_line and end_line; change it with edit_file.`)
  if (bytes.includes(0)) throw new ToolError(`${target.relative} is a binary file (${bytes.length} bytes).`)
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new ToolError(`${target.relative} is not UTF-8 text, so it cannot be read or edited exactly.`)
  }
}
