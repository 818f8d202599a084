import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { listChanges, type Change } from '@swarm/contract/endpoints/changes.ts'
import { showRepository } from '@swarm/contract/endpoints/repositories.ts'
import { createTicket, holdTicket, showTicket } from '@swarm/contract/endpoints/tickets.ts'
import type { Invariant } from '@swarm/contract/integrity.ts'
import { makeId } from '@swarm/core/ids.ts'
import { git } from '@swarm/git/run.ts'
import type { Database } from '@swarm/server/db/database.ts'
import { openDatabase } from '@swarm/server/db/open.ts'
import { appendEvents } from '@swarm/server/events/events.ts'
import type { Site } from './inject/site.ts'
import type { Installation } from './installation.ts'

/** What a plant needs; the installation has settled and merged some tickets, and nobody works on it any more. */
export type PlantSite = Pick<Site, 'installation' | 'projectId' | 'gamma'>
interface Ground extends PlantSite { readonly db: Database }
/** What must go away again, e.g. a process that was left behind. */
type Planted = Disposable | undefined

/**
 * Breaks one promise in the living installation by direct means (a row, a ref, a process, a call past the ledger), without
 * touching another one: the checker must find exactly that. Disposing takes away what would outlive the installation.
 * @throws when nothing in the installation can carry the plant
 */
export async function plant(invariant: Invariant, site: PlantSite): Promise<Disposable> {
  const { home, databaseUrl } = site.installation
  await using db = await openDatabase({ home, databaseUrl })
  const planted = await PLANTS[invariant]({ ...site, db })
  return planted ?? { [Symbol.dispose]: () => undefined }
}

const PLANTS: Record<Invariant, (ground: Ground) => Promise<Planted>> = {
  /** A ticket that stands where nobody can say why. */
  async I1({ db, installation: { client }, projectId, gamma }) {
    const { id } = await client.call(createTicket, { body: { projectId, repositoryId: gamma.repositoryId, title: 'stands still', agent: 'writes' } })
    await client.call(holdTicket, { params: { ticketId: id }, body: { reason: 'planted' } })
    const running = async (): Promise<boolean> => (await client.call(showTicket, { params: { ticketId: id } })).history.some(({ state }) => state === 'running')
    while (await running()) await delay(100) // its runner saves what it did
    await db.write((trx) => trx.updateTable('tickets').set({ hold_reason: '' }).where('id', '=', id).execute())
    return undefined
  },

  /** A second attempt of a ticket that may write, under the fence of the first. */
  async I2({ db }) {
    await db.write(async (trx) => {
      const last = await trx.selectFrom('attempts').selectAll().where('state', '=', 'succeeded').orderBy('id').limit(1).executeTakeFirstOrThrow()
      const { attempt_count: count } = await trx.selectFrom('tickets').select('attempt_count').where('id', '=', last.ticket_id).executeTakeFirstOrThrow()
      const leaseEnd = Date.now() + 3_600_000
      const second = { ...last, id: makeId('attempt', randomBytes(8)), number: count + 1, state: 'running', head_sha: null, wip_sha: null, lease_expires_at: leaseEnd, deadline_at: leaseEnd, ended_at: null, claim_key: null, vm_id: null }
      await trx.insertInto('attempts').values(second).execute()
      await appendEvents(trx, [{
        type: 'ticket:progress', projectId: last.project_id, subject: { kind: 'ticket', id: last.ticket_id }, correlationId: second.id,
        data: { attemptId: second.id, number: second.number, fence: second.fence, from: null, to: 'running' },
      }])
    })
    return undefined
  },

  /** A second branch of a ticket. */
  async I3({ installation }) {
    const { change, path } = await aMergedChange(installation)
    await git(path, ['update-ref', `refs/heads/${change.branch}-again`, change.headSha])
    return undefined
  },

  /** Main at a tree that no check ever saw. */
  async I4({ gamma }) {
    const blob = (await git(gamma.path, ['hash-object', '-w', '--stdin'], { input: 'never checked\n' })).stdout.trim()
    const entries = (await git(gamma.path, ['ls-tree', 'refs/heads/main'])).stdout
    const tree = (await git(gamma.path, ['mktree'], { input: `${entries}100644 blob ${blob}\tnever-checked.txt\n` })).stdout.trim()
    const commit = (await git(gamma.path, ['-c', 'user.name=Plant', '-c', 'user.email=plant@example.com', 'commit-tree', '-p', 'refs/heads/main', '-m', 'Skip the checks', tree])).stdout.trim()
    await git(gamma.path, ['update-ref', 'refs/heads/main', commit])
    return undefined
  },

  /** The work of an ended attempt on no ref of its own. */
  async I5({ db, installation }) {
    const { change, path } = await aMergedChange(installation)
    const attempt = await db.read.selectFrom('attempts').select('id').where('ticket_id', '=', change.ticketId).where('state', '=', 'succeeded').orderBy('number').limit(1).executeTakeFirstOrThrow()
    await git(path, ['update-ref', '-d', `refs/swarm/attempts/${attempt.id}/work`])
    return undefined
  },

  /** A process in the folder of a microVM that no runner knows, with nothing in its arguments or environment that says so. */
  async I6({ installation }) {
    const slot = `swarm-slot-${randomBytes(6).toString('hex')}`
    const folder = join(installation.runnerFolder, 'processes', slot)
    await mkdir(folder, { recursive: true })
    const left = spawn('/bin/sh', ['-c', 'echo left; read -r end'], { cwd: folder, env: {}, stdio: ['pipe', 'pipe', 'ignore'] })
    await once(left.stdout, 'data')
    return { [Symbol.dispose]: () => { left.kill('SIGKILL') } }
  },

  /** A call that the model served and nobody paid for. */
  async I7({ installation }) {
    const response = await fetch(`${installation.rehearsalUrl}/v1/messages`, {
      method: 'POST',
      headers: { 'x-api-key': 'none', 'anthropic-version': '2023-06-01', 'x-swarm-call-id': makeId('call', randomBytes(8)), 'x-swarm-role': 'developer', 'x-swarm-ticket-title': 'claude-writes past the ledger', 'x-swarm-ticket-id': 'TKT-PLANTED0' },
      body: JSON.stringify({ model: 'claude-sonnet-5-5', max_tokens: 1_024, messages: [{ role: 'user', content: 'Write without an account.' }] }),
    })
    if (!response.ok) throw new Error(`the model did not serve it: ${await response.text()}`)
    await response.arrayBuffer()
    return undefined
  },

  /** A ticket that was started before one that it depends on was merged. */
  async I8({ db }) {
    await db.write(async (trx) => {
      const rows = await trx.selectFrom('events').select(['subject_id', 'data', 'seq']).where('type', '=', 'ticket:update').orderBy('seq').execute()
      const started = new Map<string, number>()
      for (const { subject_id: id, data, seq } of rows) {
        const { to } = JSON.parse(data) as { to?: string }
        if (to === 'claimed' && !started.has(id)) started.set(id, seq)
        if (to !== 'done') continue
        const child = [...started].find(([other, at]) => other !== id && at < seq)?.[0]
        if (child === undefined) continue
        await trx.insertInto('ticket_dependencies').values({ ticket_id: child, depends_on_id: id }).execute()
        return
      }
      throw new Error('no two tickets were worked on at once')
    })
    return undefined
  },

  /** A state that no event tells of. */
  async I9({ db, installation }) {
    // Not the attempt of I5, of which something else would be said then.
    const { change } = await aMergedChange(installation)
    await db.write(async (trx) => {
      const { id } = await trx.selectFrom('attempts').select('id').where('state', '=', 'succeeded').where('ticket_id', '!=', change.ticketId).orderBy('id', 'desc').limit(1).executeTakeFirstOrThrow()
      await trx.updateTable('attempts').set({ state: 'failed' }).where('id', '=', id).execute()
    })
    return undefined
  },

  /** A merge that rests on an approval of something else. */
  async I10({ db }) {
    await db.write(async (trx) => {
      const approval = await trx.selectFrom('approvals').select(['id', 'payload']).where('kind', '=', 'merge').where('status', '=', 'approved').where('used_at', 'is not', null).orderBy('id').limit(1).executeTakeFirstOrThrow()
      await trx.updateTable('approvals').set({ payload: JSON.stringify({ ...JSON.parse(approval.payload) as object, headSha: '0'.repeat(40) }) }).where('id', '=', approval.id).execute()
    })
    return undefined
  },
}

async function aMergedChange({ client }: Installation): Promise<{ change: Change; path: string }> {
  const [change] = (await client.call(listChanges, { query: { state: 'merged', limit: 1 } })).items
  if (change === undefined) throw new Error('no change was merged')
  const { path } = await client.call(showRepository, { params: { repositoryId: change.repositoryId } })
  return { change, path }
}
