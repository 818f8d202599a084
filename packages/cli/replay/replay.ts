import { randomBytes } from 'node:crypto'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Client } from '@swarm/contract/client.ts'
import { showRecordedExchange, showRecording, type Recording } from '@swarm/contract/endpoints/replay.ts'
import { showRepository } from '@swarm/contract/endpoints/repositories.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { makeId } from '@swarm/core/ids.ts'
import { git } from '@swarm/git/run.ts'
import { UserError } from '../errors.ts'
import { EXIT } from '../exit-codes.ts'
import { startChild } from '../platform/child.ts'
import { patiently } from '../platform/patiently.ts'
import { createReplayModel, type Exchange, type ModelReport } from './model.ts'
import { startReplayServer } from './server.ts'

export interface TreeReport {
  /** Commits; null where nothing was pushed. */
  readonly recorded: string | null; readonly replayed: string | null
  readonly same: boolean
  /** The first that differ, with git's letter: A only in the replay, D only in the recording, M in both. */
  readonly files: readonly { readonly status: string; readonly path: string }[]
}
export interface StayReport {
  readonly fence: number; readonly startSha: string
  readonly model: ModelReport
  /** Calls of the original that were never answered; they are not replayed. */
  readonly unanswered: number
  readonly outcome: { readonly recorded: string; readonly replayed: string; readonly message: string }
  readonly tree: TreeReport
  /** Where its work is kept, when it pushed any. */
  readonly ref: string | null
  readonly same: boolean
}
export interface ReplayReport {
  readonly attemptId: string; readonly replayId: string; readonly provider: 'replay'; readonly costMicroUsd: 0; readonly driver: string; readonly same: boolean
  readonly images: { readonly recorded: readonly string[]; readonly replayed: readonly string[] }
  readonly stays: readonly StayReport[]
}

export interface ReplayOptions {
  readonly client: Client
  readonly attemptId: string
  readonly home: string
  readonly cache: string
  /** Let it reach the hosts that the attempt could reach. */
  readonly network: boolean
  readonly signal: AbortSignal
  readonly onProgress: (words: string) => void
}

const STOP_MS = 60_000
const MOST_FILES = 100

/**
 * Runs what an attempt was given once more, stay by stay, each in a fresh microVM from the commit that it started from, with the
 * recorded answers. The original, its ticket, branch and budget are not touched: the runner works for a server of its own.
 * @throws DomainError recording_missing; UserError when no runner can be started
 */
export async function replayAttempt(options: ReplayOptions): Promise<ReplayReport> {
  const { client, attemptId, signal } = options
  const recording = await client.call(showRecording, { params: { attemptId } }, { signal })
  const { path } = await client.call(showRepository, { params: { repositoryId: recording.repositoryId } }, { signal })
  // All of it before the first microVM: what is missing is said at once.
  const exchanges: Exchange[][] = []
  for (const stay of recording.stays) {
    const mine: Exchange[] = []
    for (const { callId } of stay.exchanges) mine.push(await patiently(() => client.call(showRecordedExchange, { params: { attemptId, callId } }, { signal }), signal))
    exchanges.push(mine)
    if (!await hasCommit(path, stay.work.startSha)) throw new DomainError('recording_missing', { attemptId, problem: `the repository has no commit ${stay.work.startSha}, from which it started` })
  }

  const replayId = makeId('replay', randomBytes(8))
  const stays: StayReport[] = []
  const images = new Set<string>()
  let driver = ''
  for (const [at, stay] of recording.stays.entries()) {
    const done = await replayStay(stay, exchanges[at] ?? [], { ...options, path, replayId, number: at + 1 })
    stays.push(done.report)
    driver = done.driver
    for (const image of done.images) images.add(image)
  }
  return { attemptId, replayId, provider: 'replay', costMicroUsd: 0, driver, same: stays.every(({ same }) => same), images: { recorded: recording.imageDigests, replayed: [...images] }, stays }
}

async function replayStay(stay: Recording['stays'][number], exchanges: readonly Exchange[], options: ReplayOptions & { path: string; replayId: string; number: number }): Promise<{ report: StayReport; driver: string; images: string[] }> {
  const { work } = stay
  const { home, path, replayId, signal } = options
  const name = `replay-${replayId.toLowerCase()}-${options.number}`
  const folder = join(home, 'replays', name)
  await using cleanup = new AsyncDisposableStack()
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  cleanup.defer(() => { rmSync(folder, { recursive: true, force: true }) })
  const repository = await borrowRepository(join(folder, 'repository.git'), path, work.attemptId, work.startSha)
  const model = createReplayModel(exchanges, stay.unanswered)
  const server = cleanup.use(await startReplayServer({ work, model, repository, egressAllow: options.network ? work.egressAllow : [], onStep: (words) => { options.onProgress(`${replayId} ${words}`) } }))
  const tokenFile = join(folder, 'token')
  writeFileSync(tokenFile, `${server.token}\n`, { mode: 0o600 })
  const runner = await startChild({
    name: 'runner of the replay', program: 'packages/runner/main.ts', args: ['--server', server.url, '--name', name, '--token-file', tokenFile], env: { SWARM_HOME: home, SWARM_CACHE: options.cache, SWARM_CONCURRENCY: '1', SWARM_LOG_TO: 'file' }, stopMs: STOP_MS, signal,
  })
  cleanup.defer(() => { rmSync(join(home, 'runner', name), { recursive: true, force: true }) })
  cleanup.use(runner)
  const aborted = new Promise<never>((_, reject) => { signal.addEventListener('abort', () => { reject(signal.reason as Error) }, { once: true }) })
  const ended = await Promise.race([server.ended, aborted, runner.ended.then((how): never => { throw new UserError('platform_ended', `The runner of the replay ended unexpectedly: ${how}.`, `Its log is ${join(home, 'logs', `runner-${name}.log`)}.`, EXIT.platform) })])

  rmSync(join(home, 'logs', `runner-${name}.log`), { force: true })

  const ref = ended.sha === null ? null : `refs/swarm/replays/${replayId}/${options.number}`
  if (ref !== null) await git(path, ['-c', 'transfer.fsckObjects=true', 'fetch', '--quiet', '--no-tags', '--no-write-fetch-head', repository, `refs/swarm/attempts/${work.attemptId}/work:${ref}`], { signal })
  const report = model.report()
  const tree = await compareTrees(path, stay.resultSha, ended.sha)
  const whole = report.endedUnanswered ? report.asked === report.recorded + 1 : report.asked === report.recorded && ended.outcome === stay.outcome
  const same = report.different === 0 && whole && tree.same
  return {
    driver: String(runner.ready['driver']), images: server.images(),
    report: { fence: stay.fence, startSha: work.startSha, model: report, unanswered: stay.unanswered, outcome: { recorded: stay.outcome, replayed: ended.outcome, message: ended.message.slice(0, 2_000) }, tree, ref, same },
  }
}

/** A bare repository of the replay's own that reads the objects of the real one: what is pushed stays in it. */
async function borrowRepository(draft: string, from: string, attemptId: string, startSha: string): Promise<string> {
  mkdirSync(draft, { recursive: true })
  await git(draft, ['init', '--quiet', '--bare', '--template=', '.'])
  mkdirSync(join(draft, 'objects', 'info'), { recursive: true })
  writeFileSync(join(draft, 'objects', 'info', 'alternates'), `${join(from, 'objects')}\n`)
  await git(draft, ['update-ref', `refs/swarm/attempts/${attemptId}/start`, startSha])
  return draft
}

async function hasCommit(path: string, sha: string): Promise<boolean> {
  return (await git(path, ['cat-file', '-e', `${sha}^{commit}`], { okCodes: [0, 1, 128] })).code === 0
}

async function compareTrees(path: string, recorded: string | null, replayed: string | null): Promise<TreeReport> {
  if (recorded === null || replayed === null || !await hasCommit(path, recorded)) return { recorded, replayed, same: recorded === null && replayed === null, files: [] }
  const fields = (await git(path, ['diff-tree', '-r', '-z', '--no-renames', '--name-status', recorded, replayed])).stdout.split('\0').filter((field) => field !== '')
  const files = fields.flatMap((status, at) => (at % 2 === 0 ? [{ status, path: fields[at + 1] ?? '' }] : []))
  return { recorded, replayed, same: files.length === 0, files: files.slice(0, MOST_FILES) }
}
