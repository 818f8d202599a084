// Every error code is documented and used.    node scripts/check/errors.mjs [folder]
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { errorsPage } from '../docs-errors.mjs'
import { fail, pass } from './outcome.mjs'

const root = resolve(process.argv[2] ?? '.')
const { codes, text, path } = await errorsPage(root)
const sources = shippedSources(join(root, 'packages')).map((file) => readFileSync(file, 'utf8'))

const problems = codes
  .filter((code) => !sources.some((source) => source.includes(`'${code}'`) || source.includes(`"${code}"`)))
  .map((code) => `${code} is in packages/core/error-codes.ts and nothing uses it`)
if (!existsSync(path) || readFileSync(path, 'utf8') !== text) problems.push('docs/errors.md differs from the table: run "node scripts/docs-errors.mjs" with the pinned Node and commit it')

if (problems.length > 0) fail(problems)
else pass(`${codes.length} codes, each used and documented`)

function shippedSources(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const file = join(folder, entry.name)
    if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : shippedSources(file)
    return entry.name.endsWith('.ts') && !entry.name.endsWith('.test.ts') && entry.name !== 'error-codes.ts' ? [file] : []
  })
}
