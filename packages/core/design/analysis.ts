import { detectChecks } from '../checks/detect.ts'
import { shorten } from './text.ts'

/** What is known of a repository at its base commit before anything is planned. */
export interface RepositoryAnalysis {
  /** Nothing but papers and settings: the skeleton has to come first. */
  readonly greenfield: boolean
  readonly fileCount: number
  /** Languages by number of files, then frameworks and tools that manifests name. */
  readonly stack: readonly string[]
  readonly entryPoints: readonly string[]
  readonly commands: readonly { readonly name: string; readonly command: string }[]
  readonly testCommand: string | null
  readonly conventions: readonly string[]
  /** All paths, sources first, those near the root first. */
  readonly files: readonly string[]
}

/** Files at the root whose text the analysis reads. */
export const ANALYSIS_READS = ['package.json', 'Makefile', 'pyproject.toml', 'tsconfig.json', '.editorconfig', '.prettierrc', 'go.mod', 'Cargo.toml', 'CONTRIBUTING.md', 'AGENTS.md', 'CLAUDE.md', 'README.md'] as const

const LANGUAGES: Readonly<Record<string, string>> = {
  js: 'JavaScript', mjs: 'JavaScript', cjs: 'JavaScript', jsx: 'JavaScript (JSX)', ts: 'TypeScript', mts: 'TypeScript', tsx: 'TypeScript (JSX)', py: 'Python', go: 'Go', rs: 'Rust',
  java: 'Java', kt: 'Kotlin', rb: 'Ruby', php: 'PHP', c: 'C', h: 'C', cpp: 'C++', cc: 'C++', cs: 'C#', swift: 'Swift', html: 'HTML', css: 'CSS', scss: 'SCSS', sql: 'SQL', sh: 'Shell', vue: 'Vue', svelte: 'Svelte',
}
const ENTRY = /^(?:(?:src|app|lib|cmd\/[^/]+|bin|server|client)\/)?(?:index|main|app|server|cli|__main__|mod|lib)\.(?:[cm]?[jt]sx?|py|go|rs|html|rb|php)$/
const TEST = /(?:^|\/)(?:tests?|__tests__|spec)\/|[._-](?:test|spec)\.[^/]+$|(?:^|\/)test_[^/]+\.py$/
const AGENT_RULES = ['AGENTS.md', 'CLAUDE.md', 'CONTRIBUTING.md']

/**
 * Describes a repository from its paths and a few root files (`ANALYSIS_READS`).
 * @param stated checks that swarm.yml names or detection found; detection runs here when it is not given
 */
export function analyseRepository(files: readonly string[], texts: Readonly<Record<string, string>>, stated?: readonly { name: string; command: string }[]): RepositoryAnalysis {
  const extensionOf = (path: string): string => /\.([A-Za-z0-9]+)$/.exec(path)?.[1]?.toLowerCase() ?? ''
  const sources = files.filter((path) => LANGUAGES[extensionOf(path)] !== undefined && !/(?:^|\/)(?:node_modules|vendor|dist|build|\.github)\//.test(path))
  const counts = new Map<string, number>()
  for (const path of sources) {
    const language = LANGUAGES[extensionOf(path)] ?? ''
    counts.set(language, (counts.get(language) ?? 0) + 1)
  }
  const manifest = parseManifest(texts['package.json'])
  const detected = stated ?? detectChecks({ files, read: (path) => texts[path] ?? null }).checks
  const commands = [...detected, ...Object.entries(manifest.scripts).filter(([name]) => !detected.some((check) => check.name === name)).map(([name]) => ({ name, command: `npm run ${name}` }))]
  const tests = sources.filter((path) => TEST.test(path))
  return {
    greenfield: sources.length === 0,
    fileCount: files.length,
    stack: [...[...counts].sort((one, two) => two[1] - one[1]).map(([language, count]) => `${language} (${count} files)`), ...manifest.dependencies.slice(0, 20)],
    entryPoints: [...new Set([...manifest.entries, ...files.filter((path) => ENTRY.test(path))])].filter((path) => files.includes(path)).slice(0, 12),
    commands: commands.slice(0, 20),
    testCommand: detected.find((check) => /test/.test(check.name))?.command ?? null,
    conventions: conventionsOf(files, texts, manifest.type, tests),
    files: [...files].sort((one, two) => rank(one) - rank(two) || one.localeCompare(two, 'en')),
  }
  function rank(path: string): number { return (LANGUAGES[extensionOf(path)] === undefined ? 100 : 0) + path.split('/').length }
}

/** The analysis as text for a prompt, in at most `limit` characters; what does not fit is counted. */
export function analysisText(analysis: RepositoryAnalysis, limit: number): string {
  if (analysis.greenfield) {
    const papers = analysis.files.slice(0, 20).join(', ')
    return shorten(`The repository is new: it has no source file yet${papers === '' ? '' : ` (only ${papers})`}.`, Math.max(limit, 60))
  }
  const head = [
    `Existing repository, ${analysis.fileCount} files. Stack: ${analysis.stack.join(', ')}.`,
    analysis.entryPoints.length > 0 ? `Entry points: ${analysis.entryPoints.join(', ')}.` : '',
    analysis.commands.length > 0 ? `Commands: ${analysis.commands.map(({ name, command }) => `${name}: ${command}`).join('; ')}.` : '',
    `Tests: ${analysis.testCommand ?? 'no test command found'}.`,
    ...analysis.conventions.map((line) => `Convention: ${line}`),
  ].filter((line) => line !== '')
  let text = ''
  for (const line of head) if (text.length + line.length < limit * 0.6) text += `${line}\n`
  const kept: string[] = []
  let size = text.length + 40
  for (const path of analysis.files) {
    if (size + path.length + 2 > limit) break
    kept.push(path)
    size += path.length + 2
  }
  if (kept.length > 0) text += `Files: ${kept.join(', ')}${kept.length < analysis.files.length ? ` and ${analysis.files.length - kept.length} more` : ''}.`
  return text.trim()
}

function conventionsOf(files: readonly string[], texts: Readonly<Record<string, string>>, type: string, tests: readonly string[]): string[] {
  const lines: string[] = []
  if (type === 'module') lines.push('ES modules ("type": "module").')
  if (tests.length > 0) lines.push(`${tests.length} test files, such as ${tests.slice(0, 3).join(', ')}.`)
  const indent = /indent_(?:style\s*=\s*(\w+)|size\s*=\s*(\d+))/.exec(texts['.editorconfig'] ?? '')
  if (indent) lines.push('.editorconfig settles indentation.')
  for (const [path, name] of [['.prettierrc', 'Prettier'], ['biome.json', 'Biome'], ['.eslintrc.json', 'ESLint'], ['eslint.config.js', 'ESLint'], ['ruff.toml', 'Ruff'], ['rustfmt.toml', 'rustfmt']] as const) {
    if (files.includes(path)) lines.push(`${name} (${path}).`)
  }
  const strict = /"strict"\s*:\s*true/.test(texts['tsconfig.json'] ?? '')
  if (strict) lines.push('TypeScript strict.')
  for (const path of AGENT_RULES) if (texts[path]) lines.push(`${path} says: ${shorten(texts[path].replace(/\s+/g, ' ').trim(), 600)}`)
  return lines
}

function parseManifest(text: string | undefined): { scripts: Record<string, unknown>; entries: string[]; dependencies: string[]; type: string } {
  const empty = { scripts: {}, entries: [], dependencies: [], type: '' }
  if (text === undefined) return empty
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    // A broken manifest tells nothing; the checks will say what is wrong with it.
    if (error instanceof SyntaxError) return empty
    throw error
  }
  if (!isRecord(value)) return empty
  const bins = typeof value.bin === 'string' ? [value.bin] : isRecord(value.bin) ? Object.values(value.bin) : []
  return {
    scripts: isRecord(value.scripts) ? value.scripts : {},
    entries: [value.main, value.module, ...bins].filter((path) => typeof path === 'string').map((path) => path.replace(/^\.\//, '')),
    dependencies: [value.dependencies, value.devDependencies].flatMap((field) => (isRecord(field) ? Object.keys(field) : [])),
    type: typeof value.type === 'string' ? value.type : '',
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
