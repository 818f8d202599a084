import { DomainError } from '../errors.ts'

/** One block of a Markdown document; `line` is 1-based, of its first line. */
export type Block =
  | { kind: 'heading'; level: number; text: string; line: number }
  | { kind: 'item'; depth: number; text: string; line: number }
  | { kind: 'row'; header: readonly string[]; cells: readonly string[]; line: number }
  | { kind: 'paragraph'; text: string; line: number }
  | { kind: 'code'; text: string; line: number }

interface OpenItem { block: Extract<Block, { kind: 'item' }>; indent: number; contentIndent: number }

const FENCE = /^(\s*)(`{3,}|~{3,})(.*)$/s
const HEADING = /^ {0,3}(#{1,6})(?=[ \t]|$)/
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])(?:(\s+)(.*))?$/s
const BREAK = /^ {0,3}(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})$/

/**
 * Splits Markdown into blocks, by line. It knows what specs use (headings, lists with nesting and continuation, checkboxes,
 * tables, fences, comments, quotes, front matter) and takes the rest as paragraphs; it never fails on odd Markdown, but for
 * a fence or comment that is opened and never closed: that would silently swallow what follows.
 * @throws DomainError spec_unclosed_block {what, line}
 */
export function scanMarkdown(source: string): Block[] {
  const lines = stripComments(source.replace(/^\ufeff/, '').split(/\r\n|\r|\n/))
  const blocks: Block[] = []
  let items: OpenItem[] = []
  let paragraph: Extract<Block, { kind: 'paragraph' }> | null = null
  let afterBlank = true
  let index = skipFrontMatter(lines)

  const close = (): void => { items = []; paragraph = null }

  for (; index < lines.length; index++) {
    const line = unquote(lines[index] ?? '')
    const number = index + 1
    if (line.trim() === '') { paragraph = null; afterBlank = true; continue }
    const indent = widthOf(/^\s*/.exec(line)?.[0] ?? '')

    const fence = FENCE.exec(line)
    if (fence && !(fence[2]?.startsWith('`') && fence[3]?.includes('`'))) {
      const end = fenceEnd(lines, index, fence[2] ?? '```')
      if (end < 0) throw new DomainError('spec_unclosed_block', { what: 'code fence', line: number })
      const text = lines.slice(index, end + 1).map(unquote).join('\n')
      while (items.length > 0 && indent < (items.at(-1)?.contentIndent ?? 0)) items.pop()
      const owner = items.at(-1)
      if (owner) owner.block.text += `\n${text}`
      else { blocks.push({ kind: 'code', text, line: number }); close() }
      paragraph = null
      index = end
      afterBlank = false
      continue
    }

    const heading = HEADING.exec(line)
    if (heading) {
      blocks.push({ kind: 'heading', level: heading[1]?.length ?? 1, text: headingText(line.slice(heading[0].length)), line: number })
      close(); afterBlank = false
      continue
    }
    if (paragraph !== null && /^ {0,3}(?:=+|-+)[ \t]*$/.test(line)) {
      const open: Extract<Block, { kind: 'paragraph' }> = paragraph
      blocks.splice(blocks.lastIndexOf(open), 1, { kind: 'heading', level: line.includes('=') ? 1 : 2, text: open.text.replace(/\s+/g, ' ').trim(), line: open.line })
      close(); afterBlank = false
      continue
    }
    if (BREAK.test(line)) { close(); afterBlank = true; continue }

    const item = ITEM.exec(line)
    if (item && (item[4] !== undefined || paragraph === null)) {
      while (items.length > 0 && indent <= (items.at(-1)?.indent ?? 0)) items.pop()
      const text = (item[4] ?? '').replace(/^\[[ xX]\](?:\s+|$)/, '')
      const block: OpenItem['block'] = { kind: 'item', depth: items.length, text, line: number }
      blocks.push(block)
      items.push({ block, indent, contentIndent: indent + (item[2]?.length ?? 1) + 1 })
      paragraph = null; afterBlank = false
      continue
    }

    if (items.length === 0 && line.includes('|') && isDelimiterRow(unquote(lines[index + 1] ?? ''))) {
      const header = cellsOf(line)
      index += 2
      for (; index < lines.length; index++) {
        const row = unquote(lines[index] ?? '')
        if (row.trim() === '' || !row.includes('|')) break
        blocks.push({ kind: 'row', header, cells: cellsOf(row), line: index + 1 })
      }
      index--
      close(); afterBlank = true
      continue
    }

    if (items.length > 0) {
      // After a blank line only an indented line still belongs to the item; without one, every line does (lazy continuation).
      if (afterBlank) while (items.length > 0 && indent < (items.at(-1)?.contentIndent ?? 0)) items.pop()
      const owner = items.at(-1)
      if (owner) {
        owner.block.text += `${owner.block.text === '' ? '' : afterBlank ? '\n' : ' '}${line.trim()}`
        afterBlank = false
        continue
      }
    }
    if (paragraph === null && indent >= 4 && afterBlank) {
      blocks.push({ kind: 'code', text: line, line: number })
      continue
    }
    if (paragraph) paragraph.text += `\n${line.trim()}`
    else {
      paragraph = { kind: 'paragraph', text: line.trim(), line: number }
      blocks.push(paragraph)
    }
    afterBlank = false
  }
  return blocks
}

/** Without the closing marks of `## Title ##`. Taken apart by hand: a pattern for it takes quadratic time on long blanks. */
function headingText(rest: string): string {
  const text = rest.trim()
  let end = text.length
  while (end > 0 && text[end - 1] === '#') end--
  return end === 0 ? '' : end < text.length && /\s/.test(text[end - 1] ?? '') ? text.slice(0, end).trimEnd() : text
}

function isDelimiterRow(line: string): boolean {
  return line.includes('-') && /^[\s|:-]+$/.test(line) && cellsOf(line).every((cell) => /^:?-+:?$/.test(cell))
}

function widthOf(space: string): number {
  let width = 0
  for (const char of space) width += char === '\t' ? 4 - (width % 4) : 1
  return width
}

function unquote(line: string): string {
  return line.replace(/^ {0,3}(?:> ?)+/, '')
}

function fenceEnd(lines: readonly string[], start: number, marker: string): number {
  const closing = new RegExp(`^\\s*\\${marker[0]}{${marker.length},}\\s*$`)
  for (let index = start + 1; index < lines.length; index++) if (closing.test(unquote(lines[index] ?? ''))) return index
  return -1
}

/** Cells of a table row; `\|` is a literal bar. */
function cellsOf(line: string): string[] {
  const inner = line.trim().replace(/^\|/, '').replace(/(?<!\\)\|$/, '')
  return inner.split(/(?<!\\)\|/).map((cell) => cell.replaceAll('\\|', '|').trim())
}

function skipFrontMatter(lines: readonly string[]): number {
  if (lines[0]?.trim() !== '---') return 0
  const end = lines.findIndex((line, index) => index > 0 && (line.trim() === '---' || line.trim() === '...'))
  // Front matter is `key: value`; a document that merely begins with a rule is not it.
  return end > 0 && lines.slice(1, end).every((line) => line.trim() === '' || /^(?:[\w-]+\s*:|\s+|- |#)/.test(line)) ? end + 1 : 0
}

/** Blanks out HTML comments, keeping the line numbers; text inside fences stays as it is. */
function stripComments(lines: readonly string[]): string[] {
  const result: string[] = []
  let openedAt = 0
  let fence: string | null = null
  for (const [index, original] of lines.entries()) {
    let line = original
    if (openedAt === 0) {
      const marker = FENCE.exec(unquote(line))
      if (fence === null && marker && !(marker[2]?.startsWith('`') && marker[3]?.includes('`'))) fence = marker[2] ?? null
      else if (fence !== null && marker && marker[2]?.[0] === fence[0] && (marker[2]?.length ?? 0) >= fence.length && marker[3]?.trim() === '') fence = null
      if (fence !== null) { result.push(line); continue }
    }
    let kept = ''
    for (;;) {
      if (openedAt > 0) {
        const end = line.indexOf('-->')
        if (end < 0) break
        openedAt = 0
        line = line.slice(end + 3)
      } else {
        const start = line.indexOf('<!--')
        // `<!--` in inline code is text about comments, not one.
        if (start < 0 || (line.slice(0, start).split('`').length - 1) % 2 === 1) { kept += line; break }
        kept += line.slice(0, start)
        openedAt = index + 1
        line = line.slice(start + 4)
      }
    }
    result.push(kept)
  }
  if (openedAt > 0) throw new DomainError('spec_unclosed_block', { what: 'comment', line: openedAt })
  return result
}
