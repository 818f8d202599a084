import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statfsSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { DomainError } from '@swarm/core/errors.ts'
import { run } from '../host/run.ts'
import { redacted, type Build } from './builds.ts'

/**
 * A step whose result is a folder named by a key: made in a temporary folder beside it and renamed when it is whole, so
 * that whatever kills the build leaves either nothing or everything. The caller holds the build lock.
 * @param read what it came to; null when that cannot be read (after a power cut): then it is made again
 */
export async function stage<Result>(directory: string, read: (directory: string) => Result | null, build: (temporary: string) => Promise<void>): Promise<Result> {
  const known = read(directory)
  if (known !== null) return known
  const temporary = join(dirname(directory), `.building-${basename(directory)}`)
  rmSync(temporary, { recursive: true, force: true })
  mkdirSync(temporary, { recursive: true })
  try {
    await build(temporary)
    rmSync(directory, { recursive: true, force: true })
    renameSync(temporary, directory)
    const made = read(directory)
    if (made === null) throw new Error(`${directory} was built and cannot be read`)
    return made
  } finally {
    rmSync(temporary, { recursive: true, force: true })
  }
}

/** Removes what killed builds and removals left. The caller holds the build lock. @returns the folders that were removed */
export function removeLeftovers(cache: string): string[] {
  const removed: string[] = []
  for (const kind of ['debian', 'root', 'image']) {
    const folder = join(cache, kind)
    if (!existsSync(folder)) continue
    for (const name of readdirSync(folder)) {
      if (!/^\.(building|removing)-/.test(name)) continue
      // Its last processes may still be ending.
      rmSync(join(folder, name), { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
      removed.push(join(folder, name))
    }
  }
  return removed
}

/** @throws DomainError disk_full when less than `neededBytes` are free */
export function requireSpace(path: string, neededBytes: number, purpose: string): void {
  const { bavail, bsize } = statfsSync(path)
  if (bavail * bsize < neededBytes) throw new DomainError('disk_full', { purpose, path, neededBytes, freeBytes: bavail * bsize })
}

/**
 * When the build is killed, its tools end at once, with everything that they have started and mounted: they run in process and
 * mount namespaces of their own. A signal is not enough: mmdebstrap ignores SIGTERM and went on installing under a lock that
 * was free again. Without root (which a build needs) there are no namespaces; the tool alone gets the signal.
 */
const ENDS_WITH_US: readonly [string, ...string[]] = process.getuid?.() === 0
  ? ['setpriv', '--pdeathsig', 'KILL', 'unshare', '--mount', '--pid', '--mount-proc', '--fork', '--kill-child=KILL']
  : ['setpriv', '--pdeathsig', 'KILL']

/**
 * Runs one tool of a build, and logs what it was asked and what it said. Its signal kills: unshare ignores SIGTERM.
 * @throws DomainError disk_full or image_build_failed, with the end of what the tool said and the name of the whole log
 */
export async function runStep(step: string, directory: string, argv: readonly [string, ...string[]], build: Pick<Build, 'log' | 'logPath' | 'signal'>, options: { cwd?: string; env?: NodeJS.ProcessEnv; onStderr?: (text: string) => void } = {}): Promise<string> {
  build.log(`$ ${argv.join(' ')}`)
  const result = await run([...ENDS_WITH_US, ...argv], { ...options, ...(build.signal === undefined ? {} : { signal: build.signal, killSignal: 'SIGKILL' as const }), onStderr(text) { build.log(text); options.onStderr?.(text) } })
  build.log(result.stdout)
  if (result.code === 0) return result.stdout
  const output = redacted(`${result.stderr}\n${result.stdout}`.trim())
  if (/No space left on device|ENOSPC/i.test(output)) throw diskFull(directory)
  // What went wrong, where the tool marks it (apt, npm); it is followed by much that is no help.
  const errors = output.split('\n').filter((line) => /^(E:|npm error|error[:! ])/i.test(line)).join('\n')
  throw new DomainError('image_build_failed', { step, output: (errors === '' ? output : errors).slice(-1_500), log: build.logPath })
}

/** Turns an ENOSPC of our own file operations into the same error as a tool's. */
export function asDiskFull(error: unknown, directory: string): unknown {
  return error instanceof Error && 'code' in error && error.code === 'ENOSPC' ? diskFull(directory) : error
}

function diskFull(directory: string): DomainError {
  const { bavail, bsize } = statfsSync(existsSync(directory) ? directory : dirname(directory))
  return new DomainError('disk_full', { purpose: 'The image build', path: directory, neededBytes: 'more', freeBytes: bavail * bsize })
}
