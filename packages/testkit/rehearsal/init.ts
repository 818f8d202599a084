import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { DomainError } from '@swarm/core/errors.ts'
import { starterScript } from './starter.ts'

/* node packages/testkit/rehearsal/init.ts SPEC [--out FILE] [--force]: writes a starter script; without --out, to stdout. */

const { values, positionals } = parseArgs({ allowPositionals: true, options: { out: { type: 'string' }, force: { type: 'boolean', default: false } } })
const [spec] = positionals
if (!spec || positionals.length > 1) {
  process.stderr.write('usage: node packages/testkit/rehearsal/init.ts SPEC [--out FILE] [--force]\n')
  process.exit(2)
}
let markdown: string
try {
  markdown = await readFile(spec, 'utf8')
} catch (error) {
  process.stderr.write(`The spec ${spec} cannot be read: ${error instanceof Error ? error.message : String(error)}\nGive the path of a Markdown file.\n`)
  process.exit(1)
}
let script: string
try {
  script = starterScript(markdown)
} catch (error) {
  if (!(error instanceof DomainError)) throw error
  process.stderr.write(`The spec ${spec} cannot be used: ${error.message}\n${error.remedy}\n`)
  process.exit(1)
}
if (values.out === undefined) {
  process.stdout.write(script)
} else if (existsSync(values.out) && !values.force) {
  process.stderr.write(`${values.out} exists already and was left as it is. Give another --out, or --force to replace it.\n`)
  process.exit(1)
} else {
  await writeFile(values.out, script)
  process.stdout.write(`${JSON.stringify({ script: values.out })}\n`)
}
