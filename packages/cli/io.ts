import { stripVTControlCharacters, styleText } from 'node:util'

type Style = Parameters<typeof styleText>[0]

/**
 * Where a command says things: progress and questions on stderr, the result on stdout. In a terminal there is one live
 * line at the bottom that is redrawn; in a pipe there are plain lines only. Colours follow NO_COLOR and the terminal.
 */
export interface Io {
  readonly json: boolean
  /** A person is there to answer. */
  readonly interactive: boolean
  /** One line of progress. */
  say(line: string): void
  /** What is going on right now; null takes the line away. Nothing in a pipe. */
  status(line: string | null): void
  style(style: Style, text: string): string
  /** The result, for people. */
  result(text: string): void
}

export function createIo(options: { json: boolean; stdin?: NodeJS.ReadStream; stdout?: NodeJS.WriteStream; stderr?: NodeJS.WriteStream }): Io {
  const { json, stdin = process.stdin, stdout = process.stdout, stderr = process.stderr } = options
  const live = stderr.isTTY === true
  let current: string | null = null
  const clear = () => { if (live && current !== null) stderr.write('\r\u001b[2K') }
  const draw = () => {
    if (live && current !== null) stderr.write(cut(current, (stderr.columns ?? 100) - 1))
  }
  return {
    json,
    interactive: stdin.isTTY === true && live && !json,
    say(line) {
      clear()
      stderr.write(`${line}\n`)
      draw()
    },
    status(line) {
      clear()
      current = line
      draw()
    },
    style: (style, text) => styleText(style, text, { stream: stderr }),
    result(text) {
      clear()
      current = null
      stdout.write(text.endsWith('\n') ? text : `${text}\n`)
    },
  }
}

function cut(text: string, width: number): string {
  return stripVTControlCharacters(text).length <= width ? text : `${stripVTControlCharacters(text).slice(0, Math.max(0, width - 1))}…`
}

/** Text that somebody else wrote, without what steers a terminal: of control characters, line breaks and tabs are left. */
export function plain(text: string): string {
  return stripVTControlCharacters(text).replace(/\r*\n|\r+/g, '\n').replace(/[^\P{Cc}\n\t]/gu, '')
}

/** A table of plain text, columns as wide as they need; numbers are right-aligned. */
export function table(columns: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const cells = [columns.map((name) => name.toUpperCase()), ...rows.map((row) => row.map(String))]
  const widths = columns.map((_, at) => Math.max(...cells.map((row) => row[at]?.length ?? 0)))
  const numeric = columns.map((_, at) => rows.length > 0 && rows.every((row) => typeof row[at] === 'number'))
  return cells.map((row) => row.map((cell, at) => (numeric[at] ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0))).join('  ').trimEnd()).join('\n')
}

/** `1:05` or `12.3 s` */
export function duration(ms: number): string {
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`
  return `${Math.floor(ms / 60_000)}:${String(Math.floor(ms / 1000) % 60).padStart(2, '0')} min`
}

export function money(microUsd: number): string {
  return `$${(microUsd / 1e6).toFixed(microUsd > 0 && microUsd < 10_000 ? 4 : 2)}`
}

export function size(bytes: number): string {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : bytes >= 1e6 ? `${Math.round(bytes / 1e6)} MB` : `${Math.round(bytes / 1e3)} kB`
}

export function time(at: number | null): string {
  return at === null ? '-' : new Date(at).toISOString().replace('T', ' ').slice(0, 19)
}
