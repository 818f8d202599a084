import type { ChangeSet, Finding } from '@swarm/core/output/change.ts'
import { finding } from '@swarm/core/output/finding.ts'
import { maskText, unbalancedBracket } from '@swarm/core/output/mask.ts'
import { extensionOf, isFixturePath, isTestMaterial, languageOf } from '@swarm/core/output/paths.ts'
import { parseSync } from 'oxc-parser'
import { parseAllDocuments } from 'yaml'

/** Where a text stops making sense. `line` counts from 1. */
export interface SyntaxProblem {
  readonly line: number
  readonly message: string
}

/** Above this a parse costs more than it tells. */
const MAX_PARSED_CHARS = 1_000_000

/**
 * Syntax errors that a change brought in: the file is new, or its old version could be read and the new one cannot. A
 * file that was odd before (a dialect, a template) is not judged, and oddities in fixtures are only warned of.
 */
export function syntaxFindings(change: ChangeSet): Finding[] {
  const findings: Finding[] = []
  for (const file of change.files) {
    const after = file.after?.text
    if (after == null || file.after?.mode === '120000' || after === file.before?.text) continue
    const problem = syntaxProblem(file.path, after)
    if (problem === null) continue
    const before = file.before?.text
    const same = extensionOf(file.oldPath) === extensionOf(file.path)
    if (before != null && same && syntaxProblem(file.oldPath, before) !== null) continue
    const odd = isFixturePath(file.path) || /(?:^|\/)(?:templates?|skeletons?|scaffold|stubs|boilerplate|generators?|schematics)\//i.test(file.path) || (before == null && isTestMaterial(file.path))
    findings.push(finding('syntax_error', odd || (before == null && !FIRM.has(extensionOf(file.path))) ? 'warning' : 'error', file.path, problem.line, `${file.path} cannot be read: ${problem.message}`))
  }
  return findings
}

/** Languages whose readers here are complete enough to judge a file that has no earlier version. */
const FIRM = new Set(['js', 'mjs', 'cjs', 'jsx', 'ts', 'mts', 'cts', 'tsx', 'json', 'py', 'yml', 'yaml'])

/** The first syntax error of a text, or null when it can be read, or when its language is none that we can judge. */
export function syntaxProblem(path: string, text: string): SyntaxProblem | null {
  if (text.length > MAX_PARSED_CHARS || text.trim() === '') return text.trim() === '' && /\.json$/.test(path) ? { line: 1, message: 'it is empty' } : null
  const extension = extensionOf(path)
  switch (extension) {
    case 'js': case 'mjs': case 'cjs': case 'jsx': case 'ts': case 'mts': case 'cts': case 'tsx':
      return javascript(extension, text)
    case 'json': case 'webmanifest': case 'geojson':
      return json(path, text)
    case 'yml': case 'yaml':
      return yaml(text)
    case 'py': case 'pyi':
      return brackets(path, text) ?? python(text)
    case 'go': case 'rs': case 'java':
      return brackets(path, text)
    case 'c': case 'h': case 'cc': case 'cpp': case 'cxx': case 'hpp': case 'hh': case 'm': case 'mm':
      // Branches of the preprocessor may open a bracket twice.
      return /^[ \t]*#[ \t]*(?:else|elif)/m.test(text) ? null : brackets(path, text)
    case 'css': case 'scss': case 'less':
      return css(extension, text)
    case 'html': case 'htm': case 'vue': case 'svelte':
      return html(text)
    case 'kt': case 'cs': case 'swift': case 'php': case 'scala': case 'dart':
      return brackets(path, text)
    default:
      return null
  }
}

function javascript(extension: string, text: string): SyntaxProblem | null {
  // No reader of Flow is at hand: its brackets are what can be told.
  if (/^\s{0,200}(?:\/\/|\/\*)[^\n]{0,500}@flow\b|^[ \t*]{0,20}@flow\b/m.test(text.slice(0, 2_000))) return brackets('a.js', text)
  const dialects = extension === 'tsx' ? ['tsx'] as const : extension.endsWith('ts') ? ['ts', 'tsx'] as const : ['jsx', 'tsx', 'ts'] as const
  let first: SyntaxProblem | null = null
  for (const lang of dialects) {
    for (const sourceType of extension === 'cjs' || extension === 'cts' ? ['script', 'module'] as const : ['module', 'script'] as const) {
      // Errors of meaning (a name declared twice) are for the checks; the parser only reports those of form.
      const { errors } = parseSync(`file.${lang}`, text, { lang, sourceType })
      const error = errors.find((each) => each.severity === 'Error')
      if (!error) return null
      first ??= { line: lineAt(text, error.labels[0]?.start ?? 0), message: error.message }
    }
  }
  return first
}

function json(path: string, text: string): SyntaxProblem | null {
  const plain = text.charCodeAt(0) === 0xfeff ? text.slice(1) : text
  try {
    JSON.parse(plain)
    return null
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    // Configuration is often JSON with comments and trailing commas; package.json and lockfiles never are.
    if (!/(?:^|\/)(?:package(?:-lock)?|composer|manifest)\.json$/.test(path)) {
      const bare = maskText(plain, 'js').uncommented.replace(/,(\s*[}\]])/g, '$1')
      try {
        JSON.parse(bare)
        return null
      } catch (second) {
        if (!(second instanceof SyntaxError)) throw second
        // A template, or one value per line.
        if (/\{\{|<%|\$\{/.test(plain)) return null
        const rows = plain.split('\n').filter((row) => row.trim() !== '')
        if (rows.length > 1 && rows.every((row) => parses(row))) return null
      }
    }
    const at = /position (\d+)/.exec(error.message)
    return { line: at ? lineAt(plain, Number(at[1])) : plain.split('\n').length, message: error.message }
  }
}

function parses(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch (error) {
    if (error instanceof SyntaxError) return false
    throw error
  }
}

function yaml(text: string): SyntaxProblem | null {
  if (/\{\{|\{%|<%|^<<<<<<<|\$\{\{/m.test(text) && /^[ \t]*(?:\{\{|\{%|<%)|:[ \t]{0,20}\{\{|-[ \t]{0,20}\{\{/m.test(text)) return null
  const documents = parseAllDocuments(text, { logLevel: 'silent', strict: false, uniqueKeys: false })
  for (const document of Array.isArray(documents) ? documents : []) {
    const error = document.errors[0]
    if (error) return { line: error.linePos?.[0].line ?? 1, message: error.message.split('\n')[0] ?? 'malformed' }
  }
  return null
}

const COMPOUND = /^(?:async\s+)?(?:def|class|if|elif|else|for|while|try|except|finally|with)\b/

/** What Python's own reader trips over first: a header without its colon, a missing block, a dedent to nowhere. */
function python(text: string): SyntaxProblem | null {
  const { code } = maskText(text, 'python')
  const levels = [0]
  let depth = 0
  let open = false
  let inText = false
  let colon = false
  let wantsBlock = false
  let logical = ''
  let start = 1
  for (const [i, raw] of code.split('\n').entries()) {
    const row = raw.replace(/\r$/, '')
    if (!open) {
      if (row.trim() === '') continue
      const indent = (/^\s*/.exec(row)?.[0] ?? '').replace(/\t/g, '        ').replace(/\f/g, '').length
      const level = levels.at(-1) as number
      if (wantsBlock && indent <= level) return { line: i + 1, message: 'a block is missing' }
      if (!wantsBlock && indent > level) return { line: i + 1, message: 'unexpected indentation' }
      if (wantsBlock) levels.push(indent)
      while ((levels.at(-1) as number) > indent) levels.pop()
      if (levels.at(-1) !== indent) return { line: i + 1, message: 'the indentation fits no block' }
      logical = ''
      colon = false
      start = i + 1
    }
    logical += ` ${row.trim()}`
    for (const char of row) if ('([{'.includes(char)) depth++
    else if (')]}'.includes(char)) depth--
    else if (char === ':' && depth === 0) colon = true
    // Masked texts keep their marks alone: an odd number of triple ones on a row opens or closes one over several rows.
    if ((row.match(/"""|'''/g)?.length ?? 0) % 2 === 1) inText = !inText
    open = inText || depth > 0 || row.endsWith('\\')
    if (open) continue
    const statement = logical.trim()
    wantsBlock = statement.endsWith(':')
    if (COMPOUND.test(statement) && !colon) return { line: start, message: 'a colon is missing' }
  }
  return wantsBlock ? { line: start, message: 'a block is missing' } : null
}

function brackets(path: string, text: string): SyntaxProblem | null {
  const language = languageOf(path)
  if (language === null) return null
  const masked = maskText(text, language)
  if (masked.unterminated) return { line: masked.unterminated.line, message: `a ${masked.unterminated.what} is not closed` }
  const odd = unbalancedBracket(masked.code)
  return odd ? { line: odd.line, message: `"${odd.bracket}" has no partner` } : null
}

function css(extension: string, text: string): SyntaxProblem | null {
  if (/\{\{|\{%|<%/.test(text)) return null
  const plain = extension === 'css' ? text : text.replace(/(^|[^:"'(])\/\/[^\n]*/g, '$1')
  const masked = maskText(plain.replace(/url\([^)"']{0,2000}\)/g, 'url()'), 'css')
  if (masked.unterminated) return { line: masked.unterminated.line, message: 'a comment is not closed' }
  const odd = unbalancedBracket(masked.code)
  return odd ? { line: odd.line, message: `"${odd.bracket}" has no partner` } : null
}

/** Browsers read anything: only what is cut off (a tag, a comment, a script or the page itself) is called broken. */
function html(text: string): SyntaxProblem | null {
  const end = text.split('\n').length
  const open = text.lastIndexOf('<!--')
  if (open !== -1 && !text.includes('-->', open)) return { line: lineAt(text, open), message: 'a comment is not closed' }
  const bare = text.replace(/<!--[\s\S]*?-->/g, '')
  for (const tag of ['script', 'style', 'html', 'body', 'head', 'template', 'svg', 'table', 'main', 'form', 'select']) {
    const opened = bare.match(new RegExp(`<${tag}(?=[\\s>])[^>]{0,2000}(?<!/)>`, 'gi'))?.length ?? 0
    const closed = bare.match(new RegExp(`</${tag}\\s*>`, 'gi'))?.length ?? 0
    if (opened > closed) return { line: end, message: `<${tag}> is not closed` }
  }
  if (/<[a-zA-Z][^<>]*$/.test(bare.slice(-2_000)) && !/=>|[<>]=/.test(bare.slice(-200))) return { line: end, message: 'it ends inside a tag' }
  return null
}

function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length
}
