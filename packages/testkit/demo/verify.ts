import { execFile } from 'node:child_process'
import { mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { git, gitEnvironment } from '@swarm/git/run.ts'
import { z } from 'zod'
import { serveFolder } from './serve-folder.ts'

/*
 * Proof of a demo's end state: a fresh clone of main, its tests, and its page served over HTTP, linked and started.
 *
 * What agents wrote runs here outside a microVM, so both child processes get Node's permission model: they may read the clone,
 * write nothing, start nothing.
 */

/** What `start-page.ts` reports. */
export const StartedPage = z.object({
  /** Paths that index.html names (scripts, style sheets), as served. */
  files: z.array(z.string()),
  /** Paths of all modules that the page reaches; each was served, parsed, and every imported name exists. */
  modules: z.array(z.string()),
  /** Text of the first screen after the entry point has run. */
  drawn: z.string(),
})

export interface DemoVerification {
  readonly ok: boolean
  /** Commit that was verified. */
  readonly head: string
  readonly tests: { readonly passed: number; readonly failed: number; readonly skipped: number }
  readonly entry: z.infer<typeof StartedPage>
  /** Why `ok` is false, a sentence each. */
  readonly problems: readonly string[]
}

const TIMEOUT_MS = 60_000

/**
 * Clones main of `repositoryPath` (bare or not) into a temporary folder, runs its tests with this Node, serves it on loopback
 * and starts its page. Leaves nothing behind. What is wrong with the repository's content is in `problems`.
 * Errors: `git_failed`, `git_missing`.
 */
export async function verifyDemo(repositoryPath: string): Promise<DemoVerification> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'swarm-verify-')))
  try {
    const clone = join(folder, 'main')
    await git(folder, ['clone', '--quiet', '--no-local', '--single-branch', '--branch', 'main', '--', repositoryPath, clone])
    const head = (await git(clone, ['rev-parse', 'HEAD'])).stdout.trim()
    const problems: string[] = []

    const ran = await confinedNode(['--test', '--test-isolation=none', '--test-reporter=tap'], clone, [clone])
    const count = (name: string): number => Number(new RegExp(`^# ${name} (\\d+)$`, 'm').exec(ran.output)?.[1] ?? 0)
    const tests = { passed: count('pass'), failed: count('fail'), skipped: count('skipped') + count('todo') }
    if (ran.code !== 0 || tests.failed > 0) problems.push(`The tests of main do not pass: ${tests.failed} failed, Node ended with ${ran.code}. ${ran.output.slice(-2_000)}`)
    if (tests.passed === 0) problems.push('Main has no test that passes.')

    await using served = await serveFolder(clone)
    const program = fileURLToPath(new URL('start-page.ts', import.meta.url))
    const started = await confinedNode(['--experimental-vm-modules', '--disable-warning=ExperimentalWarning', program, served.url], folder, [dirname(program)])
    const entry = StartedPage.safeParse(parseLastLine(started.output))
    if (!entry.success) problems.push(`The page does not start: ${started.output.slice(-2_000)}`)
    return { ok: problems.length === 0, head, tests, entry: entry.data ?? { files: [], modules: [], drawn: '' }, problems }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Runs this Node with leave to read `readable` (files and folders) and nothing else of the file system. */
function confinedNode(args: readonly string[], cwd: string, readable: readonly string[]): Promise<{ code: number | string; output: string }> {
  const allowed = readable.map((path) => `--allow-fs-read=${path}`)
  return new Promise((resolve) => {
    execFile(process.execPath, ['--permission', ...allowed, ...args], { cwd, env: gitEnvironment(), timeout: TIMEOUT_MS, killSignal: 'SIGKILL', maxBuffer: 16_000_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : error.code ?? error.signal ?? 'an error', output: error === null ? stdout : `${stdout}${stderr}` })
    })
  })
}

function parseLastLine(output: string): unknown {
  try {
    return JSON.parse(output.trim().split('\n').at(-1) ?? '')
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

if (import.meta.main) {
  const [repository, ...rest] = process.argv.slice(2)
  if (repository === undefined || rest.length > 0) {
    process.stderr.write('usage: node packages/testkit/demo/verify.ts REPOSITORY\n')
    process.exit(2)
  }
  const verification = await verifyDemo(repository)
  process.stdout.write(`${JSON.stringify(verification)}\n`)
  process.exitCode = verification.ok ? 0 : 1
}
