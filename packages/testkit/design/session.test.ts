import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Plan } from '@swarm/contract/endpoints/design.ts'
import type { Database } from '@swarm/server/db/database.ts'
import { eachDialect } from '@swarm/server/db/testing.ts'
import { expect, test } from 'vitest'
import { asking, type DesignerAnswer, type DesignerCall, diligent, startDesignerModel } from './designer-model.ts'
import { bareRepository, designStage, longSpec, seedProject } from './stage.ts'

const SPEC = '# Tips\n\n## Requirements\n- R1 Tips are whole cents.\n- R2 The total is shown.\n\n## Acceptance\n- `node --test` passes.\n'
const EXISTING = { 'package.json': '{"type":"module","main":"src/index.js","scripts":{"test":"node --test"}}', 'src/index.js': 'export {}\n', 'test/index.test.js': '', 'README.md': '# App\n' }

eachDialect((_dialect, make) => {
  async function stageWith(answer: (call: DesignerCall, servedBefore: number) => DesignerAnswer, files: Readonly<Record<string, string>> | null = { 'README.md': '# new\n' }) {
    const stack = new AsyncDisposableStack()
    const folder = mkdtempSync(join(tmpdir(), 'swarm-design-'))
    stack.defer(() => rmSync(folder, { recursive: true, force: true }))
    const model = stack.use(await startDesignerModel(answer))
    const place = stack.use(await make())
    const db = stack.use(await place.open({ slowUnitMs: 2_000 }))
    await seedProject(db)
    const stage = stack.use(designStage(db, bareRepository(folder, files), model.url))
    const create = (spec = SPEC, tokenCap?: number) => stage.design.create({ projectId: 'PRJ-1', repositoryId: 'REP-1', spec, clarify: 'off', by: 'admin admin', tokenCap, correlationId: 'corr-12345678' })
    const designed = async (spec?: string, tokenCap?: number) => {
      const { id } = await create(spec, tokenCap)
      await stage.design.idle()
      return sessionOf(db, id)
    }
    const decide = async (kind: string, decision: 'approved' | 'rejected' | 'revision_requested', reason = '') => {
      const open = await db.read.selectFrom('approvals').selectAll().where('status', '=', 'pending').where('kind', '=', kind).executeTakeFirstOrThrow()
      await db.write((trx) => stage.approvals.decide(trx, { approvalId: open.id, decision, payloadHash: open.payload_hash, reason, decidedBy: 'somebody', byYesFlag: false, correlationId: 'corr-87654321' }))
      return JSON.parse(open.payload) as Record<string, unknown>
    }
    return { ...stage, db, model, create, designed, decide, [Symbol.asyncDispose]: () => stack.disposeAsync() }
  }

  test('a spec becomes a plan, an approval, a confirmation with its numbers, and then tickets with their dependencies', async () => {
    await using stage = await stageWith(diligent)
    const session = await stage.designed()
    expect(session).toMatchObject({ state: 'reviewing', title: 'Tips', failure: null })
    const plan = Plan.parse(JSON.parse(session.plan ?? ''))
    expect(plan).toMatchObject({ greenfield: true, waves: [['do-r1'], ['do-r2']], specVersion: 1 })
    expect(stage.model.served.map(({ step }) => step)).toEqual(['skeleton', 'expand:part-1'])

    expect(await stage.decide('spec_approval', 'approved')).toMatchObject({ planHash: session.plan_hash, requirements: [{ id: 'R1' }, { id: 'R2' }] })
    expect((await sessionOf(stage.db, session.id)).state).toBe('approved')
    expect(await stage.decide('build_start', 'approved')).toMatchObject({ tickets: 2, waves: 2, storyPoints: 4, vms: { least: 6, atOnce: 1 }, modelLabel: 'rehearsal' })
    expect((await sessionOf(stage.db, session.id)).state).toBe('building')
    const tickets = await stage.db.read.selectFrom('tickets').selectAll().orderBy('key').execute()
    expect(tickets.map((ticket) => [ticket.key, ticket.agent_name, JSON.parse(ticket.requirements)])).toEqual([
      ['do-r1', 'coder', [{ id: 'R1', text: 'Tips are whole cents.' }]], ['do-r2', 'coder', [{ id: 'R2', text: 'The total is shown.' }]],
    ])
    expect(await stage.db.read.selectFrom('ticket_dependencies').selectAll().execute()).toEqual([{ ticket_id: tickets[1]?.id, depends_on_id: tickets[0]?.id }])
    // From the table: readers of the log wait for older transactions, those of other tests on the same PostgreSQL too.
    const events = await stage.db.read.selectFrom('events').select('type').where('subject_kind', '=', 'session').orderBy('seq').execute()
    expect(events.map(({ type }) => type)).toEqual([
      'session:update', 'session:update', 'session:update', 'session:update', 'session:update', 'spec:generated', 'approval:requested',
      'approval:resolved', 'session:update', 'approval:requested', 'approval:used', 'approval:resolved', 'session:update', 'tickets:generated', 'approval:used',
    ])
    expect(stage.errors).toEqual([])
  })

  test('what a person asks for goes back to the designer, and only the new plan can be approved', async () => {
    await using stage = await stageWith(diligent)
    const first = await stage.designed()
    await stage.decide('spec_approval', 'revision_requested', 'Put the total into its own module.')
    await stage.design.idle()
    const second = await sessionOf(stage.db, first.id)
    expect(second).toMatchObject({ state: 'reviewing', spec_version: 2 })
    expect(second.plan_hash).not.toBe(first.plan_hash)
    expect(stage.model.served.filter(({ content }) => content.includes('Put the total into its own module.'))).toHaveLength(2)
    await stage.decide('spec_approval', 'approved')
    await stage.decide('build_start', 'rejected', 'too dear')
    expect((await sessionOf(stage.db, first.id)).state).toBe('cancelled')
    expect(await stage.db.read.selectFrom('tickets').selectAll().execute()).toEqual([])
  })

  test('a spec of 120 requirements is planned under a cap of 4,000 tokens a request', async () => {
    await using stage = await stageWith(diligent)
    const session = await stage.designed(longSpec(120), 4_000)
    expect(session.failure).toBeNull()
    const plan = Plan.parse(JSON.parse(session.plan ?? ''))
    expect(new Set(plan.tickets.flatMap((ticket) => ticket.requirements)).size).toBe(120)
    expect(plan.epics).toHaveLength(12)
    expect(plan.tickets).toHaveLength(120)
    expect(stage.model.served.filter(({ step }) => step.startsWith('skeleton')).length).toBeGreaterThan(1)
    for (const call of stage.model.served) expect(Math.ceil(call.bytes / 3) + 400 + call.maxTokens).toBeLessThanOrEqual(4_000)
    expect(new Set(stage.model.served.map(({ digest }) => digest)).size).toBe(stage.model.served.length)
  })

  test('a cycle in the model\'s plan fails the session after two repair rounds, with the cycle named', async () => {
    const cyclic = (call: DesignerCall): DesignerAnswer => call.step.startsWith('skeleton') ? diligent(call)
      : call.step.startsWith('repair') ? { submit: { tickets: [{ key: 'a', dependsOn: ['b'] }] } }
      : { submit: { tickets: [ticket('a', ['b']), ticket('b', ['a'])] } }
    await using stage = await stageWith(cyclic)
    const session = await stage.designed()
    expect(session.state).toBe('failed')
    expect(JSON.parse(session.failure ?? '')).toMatchObject({ code: 'plan_invalid', message: expect.stringContaining('a → b → a') })
    expect(stage.model.served.map(({ step }) => step)).toEqual(['skeleton', 'expand:part-1', 'repair:1', 'repair:2'])
    expect(stage.model.served[2]?.content).toContain('dependency_cycle: The dependencies form a cycle: a → b → a.')
    expect(await stage.db.read.selectFrom('approvals').selectAll().execute()).toEqual([])
  })

  test('a retry after a failure pays only for what led nowhere, and a repair that works ends in review', async () => {
    let mended = false
    await using stage = await stageWith((call) => call.step.startsWith('skeleton') ? diligent(call)
      : call.step.startsWith('repair') ? { submit: { tickets: mended ? [{ key: 'a', dependsOn: [] }] : [] } }
      : { submit: { tickets: [ticket('a', ['b']), ticket('b', ['a'])] } })
    const failed = await stage.designed()
    expect(failed.state).toBe('failed')
    mended = true
    await stage.design.retry(failed.id, 'corr-87654321')
    await stage.design.idle()
    expect((await sessionOf(stage.db, failed.id))).toMatchObject({ state: 'reviewing', failure: null })
    expect(stage.model.served.map(({ step }) => step)).toEqual(['skeleton', 'expand:part-1', 'repair:1', 'repair:2', 'repair:1'])
    await expect(stage.design.retry(failed.id, 'corr-87654321')).rejects.toMatchObject({ code: 'illegal_transition' })
  })

  test.each<[string, DesignerAnswer]>([
    ['another shape', { submit: { epics: [{ title: 'no key' }] } }], ['a cut answer', { raw: { stop_reason: 'max_tokens', content: [] } }], ['no call', { raw: { stop_reason: 'end_turn', content: [{ type: 'text', text: 'Sure!' }] } }], ['no message', { raw: 'odd' }],
  ])('%s is asked for once more with the reason, then the session fails', async (_name, malformed) => {
    await using stage = await stageWith((call, before) => (before === 0 ? malformed : diligent(call)))
    expect((await stage.designed()).state).toBe('reviewing')
    expect(stage.model.served[1]?.content).toContain('Your previous answer could not be used')
    await using worse = await stageWith(() => malformed)
    const session = await worse.designed()
    expect(JSON.parse(session.failure ?? '')).toMatchObject({ code: 'design_answer_malformed' })
    expect(worse.model.served).toHaveLength(2)
  })

  test('an existing repository is described to the model, a new one begins with its skeleton', async () => {
    await using stage = await stageWith(diligent, EXISTING)
    const session = await stage.designed()
    expect(Plan.parse(JSON.parse(session.plan ?? ''))).toMatchObject({ greenfield: false, waves: [['do-r1', 'do-r2']] })
    for (const part of ['JavaScript (2 files)', 'Entry points: src/index.js', 'Tests: node --test', 'ES modules', 'test/index.test.js']) expect(stage.model.served[0]?.content).toContain(part)
  })

  test('a spec that cannot be planned is refused before anything is stored or paid', async () => {
    await using stage = await stageWith(diligent)
    await expect(stage.create('')).rejects.toMatchObject({ code: 'spec_empty', status: 422 })
    await expect(stage.create('# T\n## Requirements\n- R1 a\n- R1 b')).rejects.toMatchObject({ code: 'spec_duplicate_requirement', details: { line: 4 } })
    await expect(stage.create(`# T\n## Requirements\n- R1 ${'word '.repeat(3_000)}`, 4_000)).rejects.toMatchObject({ code: 'token_cap_too_small', details: { what: 'requirement R1 (line 3)' } })
    expect(await stage.db.read.selectFrom('design_sessions').selectAll().execute()).toEqual([])
    await using empty = await stageWith(diligent, null)
    await expect(empty.create()).rejects.toMatchObject({ code: 'repository_without_commits' })
    expect(stage.model.served).toEqual([])
  })

  test('a cancelled session stops asking and takes its approval along', async () => {
    await using waiting = await stageWith(() => ({ hold: true }))
    const { id } = await waiting.create()
    await waiting.design.cancel({ sessionId: id, by: 'admin admin', correlationId: 'corr-87654321' })
    await waiting.design.idle()
    expect(await sessionOf(waiting.db, id)).toMatchObject({ state: 'cancelled', failure: null })
    await using stage = await stageWith(diligent)
    const session = await stage.designed()
    await stage.design.cancel({ sessionId: session.id, by: 'admin admin', correlationId: 'corr-87654321' })
    expect((await stage.db.read.selectFrom('approvals').select('status').execute())).toEqual([{ status: 'cancelled' }])
  })

  test('a session ends when its tickets have', async () => {
    await using stage = await stageWith(diligent)
    const { id } = await stage.designed()
    await stage.decide('spec_approval', 'approved')
    await stage.decide('build_start', 'approved')
    const end = (key: string, state: string) => stage.db.write(async (trx) => {
      await trx.updateTable('tickets').set({ state }).where('key', '=', key).execute()
      return stage.design.completeIfDone(trx, id, 'corr-87654321')
    })
    expect(await end('do-r1', 'done')).toBe(false)
    expect(await end('do-r2', 'done')).toBe(true)
    expect((await sessionOf(stage.db, id)).state).toBe('completed')
  })

  /** Starts it in a process of its own, kills that while each of these answers is on its way, and has it end at last. */
  async function killed(mode: string, answer: (call: DesignerCall) => DesignerAnswer, at: readonly number[]) {
    const folder = mkdtempSync(join(tmpdir(), 'swarm-design-'))
    await using stack = new AsyncDisposableStack()
    stack.defer(() => rmSync(folder, { recursive: true, force: true }))
    await using place = await make()
    let run = 0
    let child: ReturnType<typeof spawn> | null = null
    await using model = await startDesignerModel((call, before) => {
      if (before < (at[run] ?? Number.POSITIVE_INFINITY)) return answer(call)
      child?.kill('SIGKILL')
      return { hold: true }
    })
    const repository = bareRepository(folder, { 'README.md': '# new\n' })
    const ends: (string | number)[] = []
    for (; run <= at.length; run++) {
      child = spawn(process.execPath, [fileURLToPath(new URL('./designing.ts', import.meta.url)), run === 0 ? mode : 'resume', place.home, place.databaseUrl ?? '-', repository, model.url], { stdio: ['ignore', 'ignore', 'inherit'] })
      const [code, killedBy] = await once(child, 'exit') as [number | null, string | null]
      ends.push(killedBy ?? code ?? -1)
    }
    expect(ends).toEqual([...at.map(() => 'SIGKILL'), 0])
    await using db = await place.open()
    const session = await db.read.selectFrom('design_sessions').selectAll().executeTakeFirstOrThrow()
    expect(session).toMatchObject({ state: 'reviewing', failure: null })
    const steps = await db.read.selectFrom('design_steps').select('request_digest').execute()
    expect(new Set(model.served.map(({ digest }) => digest)).size).toBe(model.served.length)
    expect(steps).toHaveLength(model.served.length)
    return { session, served: model.served.map(({ step }) => step), questions: await db.read.selectFrom('clarifications').select(['number', 'answer', 'acknowledgement']).orderBy('number').execute() }
  }

  test('killed midway, again and again, it goes on where it was, and no request is answered twice', async () => {
    const { served } = await killed('create', diligent, [2, 5, 8, 11])
    expect(served.length).toBeGreaterThan(11)
  }, 60_000)

  test('killed while it asks, writes the card or plans, it asks nothing twice, and writes one card', async () => {
    const { session, served, questions } = await killed('idea', asking([{ text: 'Who uses it?' }, { text: 'What is rounded?' }]), [0, 2, 3, 5])
    expect(served).toEqual(['clarify:1', 'clarify:2', 'clarify:3', 'card', 'skeleton', 'expand:part-1'])
    expect(session).toMatchObject({ spec_version: 2, clarify: 'closed' })
    expect(questions).toEqual([{ number: 1, answer: 'Answer 1.', acknowledgement: 'I noted answer 1.' }, { number: 2, answer: 'Answer 2.', acknowledgement: 'I noted answer 2.' }])
  }, 60_000)
})

function sessionOf(db: Database, id: string) {
  return db.read.selectFrom('design_sessions').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
}

function ticket(key: string, dependsOn: string[]): Record<string, unknown> {
  return { key, title: key, acceptance: ['tested'], requirements: ['R1', 'R2'], scope: [`src/${key}.js`], dependsOn, storyPoints: 1 }
}
