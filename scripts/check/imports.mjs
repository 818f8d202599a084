// Who imports whom, by the rules of .dependency-cruiser.mjs.    node scripts/check/imports.mjs [folder]
// dependency-cruiser passes when it reads nothing (as it does beside a TypeScript that it cannot load), so every source file that
// is there must be among the modules that it read.
import { readdirSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { cruise } from 'dependency-cruiser'
import { fail, pass } from './outcome.mjs'

const project = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
const root = resolve(process.argv[2] ?? '.')
const { default: rules } = await import(pathToFileURL(join(project, '.dependency-cruiser.mjs')).href)
const { default: extractTSConfig } = await import('dependency-cruiser/config-utl/extract-ts-config')

process.chdir(root)
const { options, ...ruleSet } = rules
const { output } = await cruise(['packages'], { ...options, ruleSet, validate: true }, { ...options.enhancedResolveOptions }, { tsConfig: extractTSConfig('tsconfig.json') })

const read = new Set(output.modules.map(({ source }) => source))
const imports = output.modules.reduce((sum, { dependencies }) => sum + dependencies.length, 0)
const unread = sourceFiles('packages').filter((file) => !read.has(file))
const problems = [
  ...output.summary.violations.map(({ from, to, rule }) => `${from} → ${to} ${rule.name}`),
  ...unread.map((file) => `${file} was not read`),
]
if (imports === 0) problems.push('no import was read')
// Said in either case: a reading that collapses is then seen even among violations.
pass(`${read.size} modules, ${imports} imports`)
if (problems.length > 0) fail(problems)

function sourceFiles(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return entry.name === 'node_modules' || entry.name === 'fixtures' ? [] : sourceFiles(path)
    return entry.name.endsWith('.ts') ? [path] : []
  })
}
