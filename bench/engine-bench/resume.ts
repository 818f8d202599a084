import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { decideApproval, listApprovals } from '@swarm/contract/endpoints/approvals.ts'
import { showRepository } from '@swarm/contract/endpoints/repositories.ts'
import { answerQuestion, createTicket, listQuestions } from '@swarm/contract/endpoints/tickets.ts'
import { complete, release, type Work } from '@swarm/contract/runner-protocol.ts'
import { git } from '@swarm/git/run.ts'
import { benchmark, median, type Benchmark, type Suite } from '../measure.ts'
import { createPlace, folder, registerBenchRunner, startServer } from './world.ts'

/** From a person's word to the runner that has the next step in hand: an answer resumes its parked attempt, an approval sets its merge going. */
export async function resuming({ quick, note }: Suite): Promise<Benchmark[]> {
  const runs = quick ? 5 : 15
  using home = folder()
  await using server = await startServer(home.path)
  const place = await createPlace(server.admin)
  const { path } = await server.admin.call(showRepository, { params: { repositoryId: place.repositoryId } })
  const runner = await registerBenchRunner(server, 'resume')
  const attemptOf = (work: Work | null) => {
    if (work?.kind !== 'attempt') throw new Error('no attempt was given')
    return work
  }
  const checkOf = async (): Promise<Extract<Work, { kind: 'check' }>> => {
    const work = await runner.claim(20_000, ['check'])
    if (work?.kind !== 'check') throw new Error('no check was given')
    return work
  }
  const pass = (work: Extract<Work, { kind: 'check' }>) => runner.client.call(complete, { body: {
    kind: 'check', id: work.checkId, fence: work.fence, passed: true, results: work.checks.map(({ name, command }) => ({ name, command, exitCode: 0, timedOut: false, wallMs: 1, output: '' })),
  } })
  /** A commit with one more file. */
  const commit = async (parent: string, file: string): Promise<string> => {
    const blob = (await git(path, ['hash-object', '-w', '--stdin'], { input: 'export {}\n' })).stdout.trim()
    const index = { GIT_INDEX_FILE: `${path}/index-bench` }
    await git(path, ['read-tree', parent], { env: index })
    await git(path, ['update-index', '--add', '--cacheinfo', `100644,${blob},${file}`], { env: index })
    const tree = (await git(path, ['write-tree'], { env: index })).stdout.trim()
    const who = { GIT_AUTHOR_NAME: 'bench', GIT_AUTHOR_EMAIL: 'bench@localhost', GIT_COMMITTER_NAME: 'bench', GIT_COMMITTER_EMAIL: 'bench@localhost' }
    return (await git(path, ['commit-tree', tree, '-p', parent, '-m', `Add ${file}`], { env: who })).stdout.trim()
  }
  /** Hands it in, as if an agent had pushed it. */
  const handIn = async (work: Extract<Work, { kind: 'attempt' }>, file: string) => {
    const head = await commit(work.startSha, file)
    await git(path, ['update-ref', `refs/swarm/attempts/${work.attemptId}/work`, head])
    await runner.client.call(complete, { body: { kind: 'attempt', id: work.attemptId, fence: work.fence, headSha: head, summary: 'done' } })
  }

  const answered: number[] = []
  const approved: number[] = []
  for (let run = -1; run < runs; run++) {
    const file = `src/file-${run + 1}.js`
    await server.admin.call(createTicket, { body: { ...place, title: `Add ${file}`, agent: 'developer', scope: [file] } })
    const first = attemptOf(await runner.claim(20_000))
    await runner.client.call(release, { body: {
      kind: 'attempt', id: first.attemptId, fence: first.fence, reason: 'question', wipSha: null, question: { text: 'Which?', options: [], toolUseId: 'toolu_1', transcript: [] },
    } })
    const [question] = (await server.admin.call(listQuestions, { query: {} })).items
    const resumed = runner.claim(20_000).then((work) => ({ work: attemptOf(work), at: performance.now() }))
    const askedAt = performance.now()
    await server.admin.call(answerQuestion, { params: { questionId: question!.id }, body: { answer: 'This one.' } })
    const { work, at } = await resumed
    if (run >= 0) answered.push(at - askedAt)

    await handIn(work, file)
    await pass(await checkOf())
    let approval
    for (let tries = 0; approval === undefined && tries < 200; tries++) {
      approval = (await server.admin.call(listApprovals, { query: { status: 'pending' } })).items.find((each) => each.kind === 'merge')
      if (approval === undefined) await new Promise((resolve) => { setTimeout(resolve, 25) })
    }
    if (!approval) throw new Error('no approval of the merge came')
    // Main has moved since: a rebased tree is a new one, and is checked before it lands.
    await git(path, ['update-ref', 'refs/heads/main', await commit('refs/heads/main', `other/file-${run + 1}.js`)])
    const begun = checkOf().then((check) => ({ check, at: performance.now() }))
    const decidedAt = performance.now()
    await server.admin.call(decideApproval, { params: { approvalId: approval.id }, body: { decision: 'approved', payloadHash: approval.payloadHash } })
    const next = await begun
    if (run >= 0) approved.push(next.at - decidedAt)
    await pass(next.check)
  }
  const scheduled = schedulingMs(join(home.path, 'swarm.sqlite')).slice(-runs)
  note(`answered → claimed ${median(scheduled)} ms of scheduling, answered → resumed ${median(answered).toFixed(1)} ms, approved → merge begun ${median(approved).toFixed(1)} ms`)
  return [
    benchmark({ name: 'question answered → its attempt claimed (scheduling)', unit: 'ms', value: median(scheduled), runs, most: 50 }),
    benchmark({ name: 'question answered → its attempt resumed', unit: 'ms', value: median(answered), runs, most: 50 }),
    benchmark({ name: 'merge approved → its checks begun', unit: 'ms', value: median(approved), runs, most: 50 }),
  ]
}

/**
 * From each answer to the claim that it led to, ms, in order, by the times of their events: what scheduling takes, without the
 * way of the answer to the server and without what the runner is told then (git, the transcript).
 */
function schedulingMs(file: string): number[] {
  using database = new DatabaseSync(file, { readOnly: true })
  const rows = database.prepare('select subject_id as id, data, at from events where type = \'ticket:update\' order by seq').all() as unknown as { id: string; data: string; at: number }[]
  const answeredAt = new Map<string, number>()
  return rows.flatMap(({ id, data, at }) => {
    const { to, reason } = JSON.parse(data) as { to: string; reason: string | null }
    if (reason === 'answered') answeredAt.set(id, at)
    const since = to === 'claimed' ? answeredAt.get(id) : undefined
    if (since === undefined) return []
    answeredAt.delete(id)
    return [at - since]
  })
}
