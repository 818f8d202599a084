import { spawn } from 'node:child_process'
import { DomainError } from '@swarm/core/errors.ts'

/** How one call of git is to run. */
export interface GitOptions {
  /** Bytes for git's standard input; without it the input is empty. */
  readonly input?: string | Uint8Array
  /** Variables added to the small environment that git gets (see `gitEnvironment`). */
  readonly env?: Readonly<Record<string, string>>
  /** Most bytes of standard output, else `git_output_too_large`. Default 256 MiB. */
  readonly maxBytes?: number
  /** Ends git when it aborts; the call then rejects with the signal's reason. */
  readonly signal?: AbortSignal
  /** Exit codes that are answers and not failures. Default `[0]`. */
  readonly okCodes?: readonly number[]
}

/** What git answered. `stdout` and `stderr` are the text; `bytes` is standard output undecoded. */
export interface GitResult {
  readonly code: number
  readonly bytes: Buffer
  readonly stdout: string
  readonly stderr: string
}

const DEFAULT_MAX_BYTES = 256 * 1024 * 1024
const STDERR_TAIL_CHARS = 4_000

/** What git may see of our environment: never our secrets, never a `GIT_*` variable of the caller's shell. */
const PASSED_ON = [
  'PATH', 'HOME', 'TMPDIR', 'SSH_AUTH_SOCK', 'SSL_CERT_FILE', 'SSL_CERT_DIR', 'GIT_SSL_CAINFO', 'SystemRoot',
  'http_proxy', 'https_proxy', 'no_proxy', 'all_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'ALL_PROXY',
]

/** The environment of every git that Swarm starts: no configuration but the repository's own, no prompts, plain messages. */
export function gitEnvironment(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
  const env: Record<string, string> = {}
  for (const name of PASSED_ON) {
    const value = process.env[name]
    if (value !== undefined) env[name] = value
  }
  return {
    ...env,
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_ATTR_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ASKPASS: 'true',
    GIT_OPTIONAL_LOCKS: '0',
    GIT_NO_REPLACE_OBJECTS: '1',
    LC_ALL: 'C',
    ...extra,
  }
}

/**
 * Settings that a repository's own configuration must not decide: each of them could start a program of its choosing.
 * For callers that spawn git themselves (the git endpoint): `[...SAFE_CONFIG, 'upload-pack', …]`.
 */
export const SAFE_CONFIG: readonly string[] = [
  '-c', 'core.hooksPath=/dev/null',
  '-c', 'core.fsmonitor=false',
  '-c', 'core.attributesFile=/dev/null',
  '-c', 'core.quotePath=false',
  '-c', 'protocol.ext.allow=never',
  '-c', 'gc.auto=0',
  '-c', 'maintenance.auto=false',
  '-c', 'commit.gpgSign=false',
  '-c', 'tag.gpgSign=false',
]

/**
 * Runs git in `repoPath` (a work tree or a bare repository) with `args` as given, never through a shell, without hooks,
 * prompts or the user's configuration.
 *
 * Errors: `git_failed` (exit code not in `okCodes`), `git_missing` (no git to run, or no such folder),
 * `git_output_too_large`; the signal's reason when it aborts.
 */
export async function git(repoPath: string, args: readonly string[], options: GitOptions = {}): Promise<GitResult> {
  options.signal?.throwIfAborted()
  for (const arg of args) if (arg.includes('\0')) throw new DomainError('invalid_input', { problem: 'a git argument contains a NUL byte', field: 'the argument' })
  const maxBytes = options.maxBytes ?? DEFAULT_MAX_BYTES
  const child = spawn('git', [...SAFE_CONFIG, ...args], { cwd: repoPath, env: gitEnvironment(options.env), stdio: ['pipe', 'pipe', 'pipe'] })
  const out: Buffer[] = []
  let outBytes = 0
  let stderr = ''
  let tooLarge = false
  const abort = () => child.kill('SIGKILL')
  options.signal?.addEventListener('abort', abort, { once: true })
  child.stdout.on('data', (chunk: Buffer) => {
    outBytes += chunk.length
    if (outBytes > maxBytes) {
      tooLarge = true
      child.kill('SIGKILL')
    } else out.push(chunk)
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-STDERR_TAIL_CHARS)
  })
  // git may end before it has read its input; its exit code then says why, EPIPE adds nothing.
  child.stdin.on('error', () => undefined)
  child.stdin.end(options.input ?? '')
  try {
    const code = await new Promise<number>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (exit, killedBy) => resolve(exit ?? (killedBy === null ? -1 : 128)))
    })
    options.signal?.throwIfAborted()
    if (tooLarge) throw new DomainError('git_output_too_large', { command: shape(args), limitBytes: maxBytes })
    const bytes = Buffer.concat(out)
    if (!(options.okCodes ?? [0]).includes(code)) {
      throw new DomainError('git_failed', { command: shape(args), exitCode: code, stderr: withoutCredentials(stderr.trim()) })
    }
    return { code, bytes, stdout: bytes.toString('utf8'), stderr }
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
      throw new DomainError('git_missing', { path: repoPath }, { cause: error })
    }
    throw error
  } finally {
    options.signal?.removeEventListener('abort', abort)
  }
}

/** The command with long arguments cut and credentials in addresses taken out: for errors and logs. */
function shape(args: readonly string[]): string {
  return withoutCredentials(args.map((arg) => (arg.length > 80 ? `${arg.slice(0, 77)}...` : arg)).join(' '))
}

function withoutCredentials(text: string): string {
  return text.replace(/\b([a-z][a-z0-9+.-]*:\/\/)[^\s/@]+@/gi, '$1***@')
}

/**
 * Returns `revision` when git cannot take it for an option or for anything but one revision; else `invalid_revision`.
 * Put every revision that comes from a person, a request or an agent through it.
 */
export function assertRevision(revision: string): string {
  const ok = revision.length > 0 && revision.length <= 1_024 && !revision.startsWith('-') && !/[\x00-\x20\x7f?*[\\]|\.\.|^:/.test(revision)
  if (!ok) throw new DomainError('invalid_revision', { revision: JSON.stringify(revision.slice(0, 100)) })
  return revision
}

/**
 * The commit that `revision` names in `repoPath`, as 40 (or 64) hexadecimal digits.
 * Errors: `invalid_revision`, `unknown_revision`, `not_a_repository`.
 */
export async function resolveCommit(repoPath: string, revision: string, options: GitOptions = {}): Promise<string> {
  assertRevision(revision)
  const found = await git(repoPath, ['rev-parse', '--verify', '--quiet', '--end-of-options', `${revision}^{commit}`], { ...options, okCodes: [0, 1, 128] })
  if (found.code === 0) return found.stdout.trim()
  if (/not a git repository|dubious ownership/.test(found.stderr)) throw new DomainError('not_a_repository', { path: repoPath, stderr: found.stderr.trim() })
  throw new DomainError('unknown_revision', { revision })
}
