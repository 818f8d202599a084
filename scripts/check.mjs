// The fast gate: types, lint, who imports whom, dead code, error codes. One line a step.    npm run check
import { spawn } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findPinnedNode } from '../bin/pinned-node.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const node = findPinnedNode(root) ?? process.execPath
const bin = (name) => join(root, 'node_modules', '.bin', name)

/** Each ends with code 0 when all is well; `summary` finds in its output what it looked at. */
const STEPS = [
  { name: 'types', argv: [node, 'scripts/check/types.mjs'] },
  { name: 'lint', argv: [node, bin('oxlint'), '--deny-warnings', '--format=unix'], summary: () => 'no finding' },
  { name: 'imports', argv: [node, 'scripts/check/imports.mjs'] },
  { name: 'dead code', argv: [node, bin('knip'), '--no-progress', '--no-config-hints'], summary: () => 'none' },
  { name: 'lockfile', argv: [node, 'scripts/check/lockfile.mjs'] },
  { name: 'errors', argv: [node, 'scripts/check/errors.mjs'] },
]
/** The slowest step comes first; two at a time fill the two cores that such machines have. */
const AT_ONCE = 2

const startedAt = performance.now()
const waiting = [...STEPS]
const failed = []
await Promise.all(Array.from({ length: AT_ONCE }, work))
console.log(`${STEPS.length - failed.length} passed, ${failed.length} failed in ${seconds(startedAt)}${failed.length > 0 ? `: ${failed.join(', ')}` : ''}`)
process.exitCode = failed.length === 0 ? 0 : 1

async function work() {
  for (let step = waiting.shift(); step; step = waiting.shift()) {
    const stepStartedAt = performance.now()
    const { code, output } = await run(step.argv)
    const lines = output.trim().split('\n')
    if (code === 0) {
      console.log(`✓ ${step.name.padEnd(10)} ${(step.summary ? step.summary(output) : lines.at(-1)).padEnd(36)} ${seconds(stepStartedAt)}`)
      continue
    }
    failed.push(step.name)
    console.log(`✗ ${step.name.padEnd(10)} ${seconds(stepStartedAt)}\n${lines.map((line) => `    ${line}`).join('\n')}`)
  }
}

function run(argv) {
  return new Promise((resolve) => {
    let output = ''
    const child = spawn(argv[0], argv.slice(1), { cwd: root, env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: undefined }, stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text))
    child.on('error', (error) => resolve({ code: 1, output: error.message }))
    child.on('close', (code) => resolve({ code: code ?? 1, output }))
  })
}

function seconds(since) {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`
}
