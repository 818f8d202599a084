import { RecordedWork, showRecordedExchange, showRecording, type Recording } from '@swarm/contract/endpoints/replay.ts'
import type { AttemptWork } from '@swarm/contract/runner-protocol.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { BlobStore } from '../../blobs.ts'
import type { Database } from '../../db/database.ts'
import { appendEvents } from '../../events/events.ts'
import { register, type HttpTarget } from '../../http/register.ts'
import type { WorkSource } from '../../ports.ts'
import { addRecording, attemptOf, callsOf, imagesOf, recordingsOf, type CallRow, type RecordingRow } from './queries.ts'

export interface ReplayDependencies {
  readonly db: Database
  readonly blobs: BlobStore
  readonly now: () => number
  /** Commit of a ref, or null; of the repositories feature. */
  readonly resolve: (repositoryId: string, ref: string) => Promise<string | null>
  readonly onFault: (error: unknown, what: string) => void
}

/**
 * The same source, which keeps what it describes to runners: the task of an attempt is made of what was known at that moment
 * (evidence of earlier attempts, answers of people), and cannot be made again later. The token is left out.
 */
export function recorded(source: WorkSource<AttemptWork>, deps: ReplayDependencies): WorkSource<AttemptWork> {
  return {
    ...source,
    async describe(id, fence) {
      const work = await source.describe(id, fence)
      // Work goes on without its recording (the disk is full): a replay then says that there is none.
      await record(deps, work).catch((error: unknown) => { deps.onFault(error, `${id} is not recorded, so it cannot be replayed`) })
      return work
    },
  }
}

async function record({ db, blobs, now }: ReplayDependencies, work: AttemptWork): Promise<void> {
  const { attemptId: id, fence } = work
  const { digest } = await blobs.put(JSON.stringify(RecordedWork.parse(work)))
  await db.write(async (trx) => {
    if (!await addRecording(trx, { attempt_id: id, fence, work_digest: digest, created_at: now() })) return
    const attempt = await attemptOf(trx, id)
    await appendEvents(trx, [{ type: 'attempt:recorded', projectId: attempt?.project_id ?? null, subject: { kind: 'attempt', id }, correlationId: work.correlationId, data: { ticketId: work.ticketId, fence, workDigest: digest } }])
  })
}

/** Registers the routes that a replay reads. */
export function registerReplay(http: HttpTarget, deps: ReplayDependencies): void {
  const { db, blobs } = deps
  const find = async (attemptId: string) => {
    const attempt = await attemptOf(db.read, attemptId)
    if (!attempt) throw new DomainError('not_found', { kind: 'attempt', id: attemptId })
    return attempt
  }
  /** The content of a blob; what retention removed is said as that. */
  const content = async (attemptId: string, digest: string, what: string): Promise<string> => {
    try {
      return (await blobs.get(digest)).toString('utf8')
    } catch (error) {
      if (error instanceof DomainError && error.code === 'blob_not_found') throw new DomainError('recording_missing', { attemptId, problem: `${what} (${digest}) is no longer kept` }, { cause: error })
      throw error
    }
  }

  register(http, showRecording, async ({ params }): Promise<Recording> => {
    const attempt = await find(params.attemptId)
    const missing = (problem: string): DomainError => new DomainError('recording_missing', { attemptId: attempt.id, problem })
    if (attempt.state === 'running') throw missing('it still runs')
    const rows = await recordingsOf(db.read, attempt.id)
    if (rows.length === 0) throw missing('what it was given was not recorded: it is older than recordings, or no runner ever started it')
    const calls = await callsOf(db.read, attempt.id)
    const works = []
    for (const row of rows) works.push(RecordedWork.parse(JSON.parse(await content(attempt.id, row.work_digest, 'what it was given'))))
    // A stay that another one followed was saved, and the next one started there.
    const last = attempt.head_sha ?? attempt.wip_sha ?? await deps.resolve(attempt.repository_id, `refs/swarm/attempts/${attempt.id}/work`)
    const stays: Recording['stays'] = []
    for (const [at, row] of rows.entries()) {
      const work = works[at]
      if (!work) continue
      const mine = calls.filter((call) => stayOf(rows, call) === row)
      const exchanges = mine.filter(wasAnswered)
      for (const call of exchanges) {
        if (call.request_digest === null || call.response_digest === null) throw missing(`the model call ${call.id} could not be kept when it was made`)
        for (const digest of [call.request_digest, call.response_digest]) if (!await blobs.has(digest)) throw missing(`the model call ${call.id} (${digest}) is no longer kept`)
      }
      const next = works[at + 1]
      stays.push({
        fence: row.fence, work, exchanges: exchanges.map(({ id, model }) => ({ callId: id, model })), unanswered: mine.length - exchanges.length,
        resultSha: next ? next.startSha : last, outcome: next || attempt.state === 'parked' ? 'question' : attempt.head_sha !== null ? 'handed_in' : attempt.failure_reason ?? attempt.state,
      })
    }
    return { attemptId: attempt.id, ticketId: attempt.ticket_id, repositoryId: attempt.repository_id, state: attempt.state, failureReason: attempt.failure_reason, imageDigests: await imagesOf(db.read, attempt.id), stays }
  })

  register(http, showRecordedExchange, async ({ params }) => {
    const attempt = await find(params.attemptId)
    const call = (await callsOf(db.read, attempt.id)).find(({ id }) => id === params.callId)
    if (!call || !wasAnswered(call)) throw new DomainError('not_found', { kind: 'model call', id: params.callId })
    const what = `the model call ${call.id}`
    return { callId: call.id, request: await content(attempt.id, call.request_digest ?? '', what), response: await content(attempt.id, call.response_digest ?? '', what) }
  })
}

/** The agent went on with its answer: it came whole, so that its usage is known. */
function wasAnswered(call: CallRow): boolean {
  return call.state === 'settled' && call.status === 200 && call.estimated === 0
}

/** Calls carry no fence: they belong to the stay that had begun last when they were made. */
function stayOf(rows: readonly RecordingRow[], call: CallRow): RecordingRow | undefined {
  return rows.findLast((row) => row.created_at <= call.created_at) ?? rows[0]
}
