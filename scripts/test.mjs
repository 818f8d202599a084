// Every test: what runs in parallel first, then microVMs, whole platforms on them and network namespaces, then what the run left behind.
//   npm test [-- <vitest's arguments>]      e.g. npm test -- packages/core      npm test -- -t "stale fence"
// The last line is the total: `N passed, N failed, N skipped`.
// What is left behind is judged by the run's own marks and by what is new on the machine; SWARM_TEST_SHARED_MACHINE=1 leaves the
// second out, where others start microVMs at the same time.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findPinnedNode } from '../bin/pinned-node.mjs'
import { isAllowedSkip } from './test/allowed-skips.mjs'
import { leaksSince, markerEnvironment, processesOf, snapshot } from './test/leaks.mjs'

/** A phase that takes longer hangs: its processes are ended and it counts as failed. A whole run is meant to stay under 20 minutes. */
const PHASES = [
  { name: 'unit', title: 'in parallel', limitMinutes: 20 },
  { name: 'vm', title: 'microVMs, one file at a time', limitMinutes: 15 },
  { name: 'platform', title: 'whole platforms on microVMs, and images, two files at a time', limitMinutes: 15 },
  { name: 'netns', title: 'network namespaces, one file at a time', limitMinutes: 4 },
]
/** Ending takes a moment: a process that still ends after its test is no leak. */
const LEAK_GRACE_MS = 5000

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const node = findPinnedNode(root) ?? process.execPath
const args = process.argv.slice(2)
const filteredByName = args.some((arg) => arg === '-t' || arg.startsWith('--testNamePattern'))
const inCi = process.env.CI === 'true'

const run = { runId: randomBytes(8).toString('hex'), temporaryFolder: mkdtempSync(join(tmpdir(), 'swarm-test-')) }
// PostgreSQL refuses to run as root, so other users must be able to use it, as they can /tmp.
chmodSync(run.temporaryFolder, 0o1777)
const resultFolder = mkdtempSync(join(tmpdir(), 'swarm-test-results-'))
const total = { passed: 0, failures: [], skipped: [] }
const look = process.env.SWARM_TEST_SHARED_MACHINE === '1' ? () => new Map() : snapshot
const before = look(run)
const startedAt = performance.now()

try {
  for (const phase of PHASES) await runPhase(phase)
  if (total.passed + total.failures.length + total.skipped.length === 0 && !filteredByName) total.failures.push(`no test matches ${args.join(' ')}`)
  await checkLeaks()
} finally {
  for (const { pid } of processesOf(run.runId)) process.kill(pid, 'SIGKILL')
  rmSync(run.temporaryFolder, { recursive: true, force: true })
  rmSync(resultFolder, { recursive: true, force: true })
}
report()

async function runPhase({ name, title, limitMinutes }) {
  banner(`${name}: ${title}`)
  const file = join(resultFolder, `${name}.json`)
  const phaseStartedAt = performance.now()
  const { code, timedOut } = await runVitest(name, file, limitMinutes)
  const seconds = Math.round((performance.now() - phaseStartedAt) / 1000)
  if (timedOut) total.failures.push(`${name}: took longer than ${limitMinutes} minutes and was ended`)
  if (!existsSync(file)) {
    // With a file filter a project may have nothing to do; vitest then writes no result.
    if (code !== 0 && !timedOut) total.failures.push(`${name}: vitest ended with code ${code} and no result`)
    return
  }
  const result = JSON.parse(readFileSync(file, 'utf8'))
  total.passed += result.passed
  total.failures.push(...result.failures)
  if (!filteredByName) total.skipped.push(...result.skipped)
  if (code !== 0 && result.failed === 0 && !timedOut) total.failures.push(`${name}: vitest ended with code ${code}, though no test failed`)
  console.log(`${name}: ${result.passed} passed, ${result.failed} failed, ${result.skipped.length} skipped in ${seconds} s`)
}

function runVitest(project, file, limitMinutes) {
  const argv = [join(root, 'node_modules', 'vitest', 'vitest.mjs'), 'run', '--project', project, '--reporter=default', `--reporter=${join(root, 'scripts', 'test', 'reporter.mjs')}`, ...args]
  const env = {
    ...process.env,
    ...markerEnvironment(run.runId),
    PATH: `${join(root, 'node_modules', '.bin')}:${process.env.PATH ?? ''}`,
    TMPDIR: run.temporaryFolder,
    SWARM_TEST_RESULT_FILE: file,
    ...(process.stdout.isTTY ? {} : { NO_COLOR: '1', FORCE_COLOR: undefined }),
  }
  return new Promise((resolve, reject) => {
    const child = spawn(node, argv, { cwd: root, env, stdio: ['ignore', 'inherit', 'inherit'] })
    let timedOut = false
    const timer = setTimeout(() => {
      timedOut = true
      for (const { pid } of processesOf(run.runId)) process.kill(pid, 'SIGKILL')
    }, limitMinutes * 60_000)
    const forward = (signal) => child.kill(signal)
    process.on('SIGTERM', forward).on('SIGINT', forward)
    child.on('error', reject)
    child.on('exit', (code) => {
      clearTimeout(timer)
      process.off('SIGTERM', forward).off('SIGINT', forward)
      resolve({ code: code ?? 1, timedOut })
    })
  })
}

async function checkLeaks() {
  banner('what is left behind')
  const giveUpAt = performance.now() + LEAK_GRACE_MS
  let leaks = leaksSince(before, run, look)
  while (leaks.length > 0 && performance.now() < giveUpAt) {
    await new Promise((resolve) => setTimeout(resolve, 100))
    leaks = leaksSince(before, run, look)
  }
  total.failures.push(...leaks.map((leak) => `left behind: ${leak}`))
  console.log(leaks.length === 0 ? 'nothing: no process, mount, shared memory, temporary file, cgroup or network namespace' : leaks.join('\n'))
}

function report() {
  banner('total')
  for (const { test, reason } of total.skipped) console.log(`skipped: ${test}\n         ${reason ?? 'no reason given'}`)
  if (inCi) {
    for (const { test, reason } of total.skipped.filter((skip) => !isAllowedSkip(skip.reason))) total.failures.push(`skipped for a reason that scripts/test/allowed-skips.mjs does not list: ${test} (${reason ?? 'no reason given'})`)
  }
  for (const failure of total.failures) console.log(`failed: ${failure}`)
  console.log(`${Math.round((performance.now() - startedAt) / 1000)} s`)
  console.log(`${total.passed} passed, ${total.failures.length} failed, ${total.skipped.length} skipped`)
  process.exitCode = total.failures.length === 0 ? 0 : 1
}

function banner(text) {
  console.log(`\n── ${text} ${'─'.repeat(Math.max(4, 70 - text.length))}`)
}
