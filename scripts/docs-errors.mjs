// Writes docs/errors.md from the table of error codes, under Node 24 (it reads TypeScript).    node scripts/docs-errors.mjs
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const project = dirname(dirname(fileURLToPath(import.meta.url)))
const FAULTS = { user: 'the request, its data or the settings', ours: 'Swarm, or the machine it runs on' }

/**
 * @param {string} root the checkout
 * @returns {Promise<{ codes: string[], text: string, path: string }>} the codes in the order of the table, and the page that belongs at `path`
 */
export async function errorsPage(root) {
  const { ERROR_CODES } = await import(pathToFileURL(join(root, 'packages', 'core', 'error-codes.ts')).href)
  const codes = Object.keys(ERROR_CODES)
  const entries = [...codes].sort().map((code) => {
    const { status, fault, message, remedy } = ERROR_CODES[code]
    return `## ${code}\n\n${message}\n\n- What to do: ${remedy}\n- HTTP status: ${status}\n- Where the fault lies: ${FAULTS[fault]}\n`
  })
  const head = `# Errors\n\nEvery error that server and runner report on purpose has one of these codes, in the API (\`error.code\`), in events and through the\ncommand line, which has a few of its own besides (misuse, no_such_file and the like) that say what to do themselves. \`{words}\` in\nbraces are filled with the facts of the occurrence. This page is made from \`packages/core/error-codes.ts\` by\n\`node scripts/docs-errors.mjs\`; \`npm run check\` fails when the two differ.\n`
  return { codes, text: `${head}\n${entries.join('\n')}`, path: join(root, 'docs', 'errors.md') }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { text, path, codes } = await errorsPage(resolve(project))
  const same = readFileSync(path, { encoding: 'utf8', flag: 'a+' }) === text
  if (!same) writeFileSync(path, text)
  console.log(`${path}: ${codes.length} codes${same ? ', as it was' : ', written'}`)
}
