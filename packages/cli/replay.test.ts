import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { once } from 'node:events'
import { join } from 'node:path'
import { createClient, type Client } from '@swarm/contract/client.ts'
import { createAgent } from '@swarm/contract/endpoints/agents.ts'
import { createTicket, showTicket } from '@swarm/contract/endpoints/tickets.ts'
import { git } from '@swarm/git/run.ts'
import { describe, expect, test } from 'vitest'
import { readRunFile } from './platform/run-file.ts'
import type { ReplayReport } from './replay/replay.ts'
import { follow } from './run/live.ts'
import { compareRequests, settled } from './replay/compare.ts'
import { makeDesk, saying, script, SHOP, SPEC, type Desk } from './testing.ts'

const RUN_MS = 240_000

interface Ran { ticket: string; attempts: { id: string; headSha: string | null }[]; repository: string; costMicroUsd: number }

/** A platform on which the spec of testing.ts was built; it goes on running. */
async function built(desk: Desk, text: string): Promise<Ran> {
  desk.write('spec.md', SPEC)
  desk.write('script.yml', text)
  await desk.repository('shop', SHOP)
  expect(await desk.swarm(['start', '--port', '0', '--rehearsal', 'script.yml', '--json'])).toMatchObject({ code: 0 })
  const ran = await desk.swarm(['run', '--spec', 'spec.md', '--repo', 'shop', '--yes', '--json'])
  expect(ran.code, ran.stderr).toBe(0)
  const ticket = (ran.json['tickets'] as { id: string }[])[0]?.id ?? ''
  return { ticket, repository: String(ran.json['repository']), ...await told(desk, ticket) }
}
async function told(desk: Desk, ticket: string): Promise<Pick<Ran, 'attempts' | 'costMicroUsd'>> {
  const { json } = await desk.swarm(['ticket', 'show', ticket, '--json'])
  return { attempts: json['history'] as Ran['attempts'], costMicroUsd: Number(json['costMicroUsd']) }
}
/** The attempt of a ticket of its own, once its work is in review. */
async function handedIn(client: Client, url: string, ticketId: string): Promise<Ran['attempts'][number]> {
  for await (const said of follow({ client, url, rooms: [`ticket:${ticketId}`], signal: AbortSignal.timeout(RUN_MS) })) {
    if (said.kind === 'beat') continue
    const { state, history } = await client.call(showTicket, { params: { ticketId } })
    if (state === 'in_review' && history[0]) return history[0]
  }
  return expect.fail('the events ended')
}
const refs = async (repository: string): Promise<string[]> => (await git(repository, ['for-each-ref', '--format=%(refname) %(objectname)'])).stdout.trim().split('\n')

test('an attempt is replayed the same way, costs nothing, and touches neither its ticket nor any ref but its own', { timeout: RUN_MS }, async () => {
  await using desk = makeDesk()
  const before = await built(desk, script())
  const [attempt] = before.attempts
  const refsBefore = await refs(before.repository)
  const ran = await desk.swarm(['replay', attempt?.id ?? '', '--json'])
  expect(ran.code, ran.stderr + ran.stdout).toBe(0)
  const report = ran.json as unknown as ReplayReport
  expect(report).toMatchObject({
    attemptId: attempt?.id, provider: 'replay', costMicroUsd: 0, driver: 'process', same: true,
    stays: [{ model: { recorded: 2, asked: 2, different: 0, divergences: [] }, outcome: { recorded: 'handed_in', replayed: 'handed_in' }, tree: { recorded: attempt?.headSha, same: true, files: [] } }],
  })
  expect(await refs(before.repository)).toEqual([...refsBefore, `refs/swarm/replays/${report.replayId}/1 ${report.stays[0]?.tree.replayed}`].sort())
  expect(await told(desk, before.ticket)).toEqual({ attempts: before.attempts, costMicroUsd: before.costMicroUsd })
  expect(readdirSync(join(desk.home, 'replays'))).toEqual([])
  expect(readdirSync(join(desk.home, 'runner'))).toEqual(['local'])
  expect(existsSync(join(desk.home, 'logs', `runner-replay-${report.replayId.toLowerCase()}-1.log`))).toBe(false)

  // What retention has removed is said before anything starts.
  rmSync(join(desk.home, 'blobs'), { recursive: true })
  expect(await desk.swarm(['replay', attempt?.id ?? '', '--json'])).toMatchObject({ code: 2, json: { error: { code: 'recording_missing', message: expect.stringContaining('no longer kept') as string } } })
  expect(await desk.swarm(['replay', 'ATT-00000000', '--json'])).toMatchObject({ code: 2, json: { error: { code: 'not_found' } } })
})

test('where the agent\'s tools give something else, the turn, the place and both sides are named, and so are the files that differ', { timeout: RUN_MS }, async () => {
  await using desk = makeDesk()
  // A tool whose result is another one at each run, and which leaves it in a file.
  const random = script().replace("          - { name: write_file, input: { path: test/greet", "          - { name: bash, input: { command: 'cat /proc/sys/kernel/random/uuid | tee src/seed.txt' } }\n          - { name: write_file, input: { path: test/greet")
  const before = await built(desk, random)
  const ran = await desk.swarm(['replay', before.attempts[0]?.id ?? '', '--json'])
  expect(ran.code, ran.stderr).toBe(1)
  expect(ran.json as unknown as ReplayReport).toMatchObject({
    same: false,
    stays: [{ model: { recorded: 2, asked: 2, different: 1, divergences: [{ turn: 2, path: expect.stringMatching(/^\$\.messages\[2\]\.content\[1\]\.content/) as string }] }, tree: { same: false, files: [{ status: 'M', path: 'src/seed.txt' }] } }],
  })
})

test('an attempt that asked a person is replayed stay by stay, with the answer that it got', { timeout: RUN_MS }, async () => {
  await using desk = makeDesk()
  desk.write('spec.md', SPEC)
  desk.write('script.yml', script().replace('    turns:\n      - say: I write', "    turns:\n      - ask: 'Which greeting?'\n      - say: I write"))
  await desk.repository('shop', SHOP)
  expect(await desk.swarm(['start', '--port', '0', '--rehearsal', 'script.yml', '--json'])).toMatchObject({ code: 0 })
  const running = desk.swarm(['run', '--spec', 'spec.md', '--repo', 'shop', '--yes', '--json'])
  for (let asked: { id: string }[] = []; asked.length === 0;) {
    asked = (await desk.swarm(['question', 'list', '--json'])).json['questions'] as { id: string }[]
    if (asked[0]) expect(await desk.swarm(['question', 'answer', asked[0].id, 'Hello', '--json'])).toMatchObject({ code: 0 })
  }
  const ran = await running
  expect(ran.code, ran.stderr).toBe(0)
  const { attempts } = await told(desk, (ran.json['tickets'] as { id: string }[])[0]?.id ?? '')
  const replayed = await desk.swarm(['replay', attempts[0]?.id ?? '', '--json'])
  expect(replayed.code, replayed.stderr + replayed.stdout).toBe(0)
  expect(replayed.json as unknown as ReplayReport).toMatchObject({
    same: true, stays: [{ outcome: { recorded: 'question', replayed: 'question' }, model: { recorded: 1 } }, { outcome: { replayed: 'handed_in' }, model: { recorded: 2, different: 0 }, tree: { same: true } }],
  })
})

test('an attempt whose answer was cut is replayed as far as it was answered; one without a model is replayed by its commands', { timeout: RUN_MS }, async () => {
  await using desk = makeDesk()
  const before = await built(desk, script().replace('      - finish: The module', '      - cut: { afterEvents: 3, times: 3 }\n        finish: The module'))
  expect(before.attempts).toHaveLength(2)
  const cut = await desk.swarm(['replay', before.attempts[0]?.id ?? '', '--json'])
  expect(cut.code, cut.stderr + cut.stdout).toBe(0)
  expect(cut.json as unknown as ReplayReport).toMatchObject({ same: true, stays: [{ unanswered: 3, model: { recorded: 1, asked: 2, endedUnanswered: true, divergences: [] }, outcome: { recorded: 'cut_stream' }, tree: { same: true } }] })

  const url = readRunFile(desk.home)?.url ?? ''
  const client = createClient({ baseUrl: url, token: readFileSync(join(desk.home, 'admin-token'), 'utf8').trim() })
  await client.call(createAgent, { body: { name: 'writer', definition: { config: { template: 'shell', commands: ['echo one > one.txt', 'echo two > two.txt'] } } } })
  const { projectId, repositoryId } = await client.call(showTicket, { params: { ticketId: before.ticket } })
  const { id } = await client.call(createTicket, { body: { projectId, repositoryId, title: 'Write two files', agent: 'writer' } })
  const written = await handedIn(client, url, id)
  const byCommands = await desk.swarm(['replay', written.id, '--json'])
  expect(byCommands.code, byCommands.stderr + byCommands.stdout).toBe(0)
  expect(byCommands.json as unknown as ReplayReport).toMatchObject({ same: true, stays: [{ model: { recorded: 0, asked: 0 }, outcome: { replayed: 'handed_in' }, tree: { same: true, recorded: written.headSha } }] })

  // Interrupted in the middle of its work it leaves nothing behind.
  await client.call(createAgent, { body: { name: 'waiter', definition: { config: { template: 'shell', commands: ['echo waited > waited.txt', `test ! -e ${join(desk.folder, 'hold')} || sleep 100`] } } } })
  const waiting = await client.call(createTicket, { body: { projectId, repositoryId, title: 'Wait', agent: 'waiter' } })
  const { id: attempt } = await handedIn(client, url, waiting.id)
  desk.write('hold', '')
  const replays = async () => (await refs(before.repository)).filter((line) => line.startsWith('refs/swarm/replays/'))
  const replaysBefore = await replays()
  const child = desk.spawn(['replay', attempt])
  await saying(child, /agent: started/)
  child.kill('SIGINT')
  expect(await once(child, 'close')).toEqual([130, null])
  expect([readdirSync(join(desk.home, 'replays')), readdirSync(join(desk.home, 'runner'))]).toEqual([[], ['local']])
  expect(await replays()).toEqual(replaysBefore)
})

describe('requests are compared', () => {
  test.each([
    [{ max_tokens: 1, model: 'm' }, { max_tokens: 2, model: 'm' }, { kind: 'same' }],
    [{ a: [{ b: 'took 12.5 ms' }] }, { a: [{ b: 'took 7 ms' }] }, { kind: 'alike' }],
    [{ a: 'in /h/processes/swarm-slot-0123456789ab/work/repository' }, { a: 'in /other/processes/swarm-slot-000000000000/work/repository' }, { kind: 'alike' }],
    [{ a: [1, { b: 'x' }] }, { a: [1, { b: 'y' }] }, { kind: 'different', difference: { path: '$.a[1].b', recorded: 'x', replayed: 'y' } }],
    [{ a: [1] }, { a: [1, 2] }, { kind: 'different', difference: { path: '$.a[1]', recorded: '(nothing)', replayed: '2' } }],
    [{ a: 1 }, { a: 1, b: null }, { kind: 'different', difference: { path: '$.b', recorded: '(nothing)', replayed: 'null' } }],
    [{ a: '1' }, { a: 1 }, { kind: 'different' }],
  ])('%j and %j', (recorded, replayed, expected) => {
    expect(compareRequests(recorded, replayed)).toMatchObject(expected)
  })

  test('long texts are shown around the first character that differs', () => {
    const result = compareRequests({ a: `${'x'.repeat(500)}A${'y'.repeat(500)}` }, { a: `${'x'.repeat(500)}B${'y'.repeat(500)}` })
    expect(result).toMatchObject({ kind: 'different', difference: { recorded: expect.stringMatching(/^…x+Ay+…$/) as string, replayed: expect.stringMatching(/^…x+By+…$/) as string } })
  })

  test('numbers that are no durations are not taken for some', () => {
    expect(settled('12 passed, exit 1, v2.5.1, port 8080')).toBe('12 passed, exit 1, v2.5.1, port 8080')
    expect(settled('ok (0.53ms)\n# duration_ms 45.2\nin 3 s')).toBe('ok (#ms)\n# duration_ms #\nin # s')
  })
})
