import { existsSync, readFileSync, symlinkSync } from 'node:fs'
import path from 'node:path'
import type { z } from 'zod'
import type { AgentTask } from '@swarm/contract/agent-protocol.ts'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { agentHarness, buildTask, type AgentRun, type Harness } from '../harness.ts'
import { begin, finish, messagesServer, refuse, say, type Answer, type MessagesServer } from './messages-server.ts'

let harness: Harness
beforeAll(async () => { harness = await agentHarness() })
afterAll(() => harness[Symbol.dispose]())

type TaskInput = z.input<typeof AgentTask>
type Played = { run: AgentRun; server: MessagesServer; workspace: string }

async function play(answers: Answer[], over: Partial<TaskInput> & { files?: Record<string, string>; claude?: { contextTokens: number } } = {}): Promise<Played> {
  const { files, claude, ...rest } = over
  const workspace = over.workspace ?? harness.workspace(files)
  using server = await messagesServer(answers)
  const run = await harness.run(buildTask(workspace, { template: 'claude', model: 'test', ...claude }, { modelBaseUrl: server.url, ...rest }))
  return { run, server, workspace }
}
const read = (workspace: string, name: string): string => readFileSync(path.join(workspace, name), 'utf8')

describe('the claude template', () => {
  test('works through several calls a turn and finishes, with every turn and call as an event', async () => {
    const { run, server, workspace } = await play([
      say({ text: 'Looking.', calls: [['read_file', { path: 'a.js' }], ['bash', { command: 'echo hi; exit 2' }], ['glob', { pattern: '**' }]] }),
      say({ calls: [['edit_file', { path: 'a.js', old_string: '1', new_string: '$& 2' }], ['write_file', { path: 'src/new.js', content: 'export {}\n' }]] }),
      finish,
    ], { files: { 'a.js': 'let a = 1\n' } })
    expect(run.outcome).toEqual({ type: 'finished', summary: 'Done.' })
    expect(read(workspace, 'a.js')).toBe('let a = $& 2\n')
    expect(read(workspace, 'src/new.js')).toBe('export {}\n')
    expect(server.requests[1]?.body.messages.at(-1)?.content.map((block) => block.content)).toEqual(['let a = 1\n', 'hi\n[exit code 2]', 'a.js'])
    expect(run.events.filter((event) => event.type === 'turn')).toHaveLength(3)
    expect(run.events.filter((event) => event.type === 'tool_call').map((event) => event.type === 'tool_call' && event.tool)).toEqual(['read_file', 'bash', 'glob', 'edit_file', 'write_file', 'finish'])
    expect(run.events.find((event) => event.type === 'text')).toEqual({ type: 'text', text: 'Looking.' })
  })

  test('says who it is to the gateway and carries no credential of its own', async () => {
    const { server } = await play([finish])
    const request = server.requests[0]
    expect(request?.headers).toMatchObject({ 'x-correlation-id': 'correlation-1', 'x-swarm-role': 'developer', 'x-swarm-ticket': 'TKT-00000001' })
    expect(request?.headers['authorization'] ?? request?.headers['x-api-key']).toBeUndefined()
    const system = request?.body.system[0]?.text ?? ''
    expect(system.split('\n').slice(0, 4)).toEqual(['Swarm-Role: developer', 'Swarm-Ticket: TKT-00000001', 'Swarm-Ticket-Key: scoring', 'Swarm-Attempt: ATT-00000001'])
    for (const piece of ['src/**', 'A bid that is met scores 20 a trick.', 'test: node --test', 'R1: Scores follow the rules.']) expect(system).toContain(piece)
    expect(request?.body.tools.map((tool) => tool.name)).toEqual(['bash', 'read_file', 'write_file', 'edit_file', 'glob', 'grep', 'ask_human', 'finish'])
    expect(request?.body.tools[1]?.input_schema).toMatchObject({ type: 'object', required: ['path'] })
  })

  test('asks for caching of the system prompt and of the last message only', async () => {
    const { server } = await play([say({ calls: [['glob', { pattern: '**' }]] }), finish])
    const second = server.requests[1]?.body
    expect(second?.system[0]?.cache_control).toEqual({ type: 'ephemeral' })
    expect(second?.messages.flatMap((message) => message.content).map((block) => block.cache_control !== undefined)).toEqual([false, false, true])
  })

  test('puts the evidence of earlier attempts into the first message', async () => {
    const { server } = await play([finish], { evidence: [{
      attemptId: 'ATT-00000000', number: 1, failureClass: 'checks', reason: 'The check test failed.', checkOutput: 'not ok 3 ```', conflict: '<<<<<<< ours',
      findings: [{ code: 'test_weakened', severity: 'error', path: 'test/a.test.js', line: 7, message: 'An assertion is gone.', remedy: 'Put it back.' }],
    }] })
    const first = server.requests[0]?.body.messages[0]?.content[0]?.text ?? ''
    for (const piece of ['ATT-00000000', 'error test_weakened at test/a.test.js:7: An assertion is gone.', 'Remedy: Put it back.', '````\nnot ok 3 ```\n````', '<<<<<<< ours']) expect(first).toContain(piece)
  })

  test('puts the comments of a review into it, each with its file, its lines as they were, and what was answered', async () => {
    const comment = { id: 'CMT-00000001', author: 'admin first', path: 'src/a.js', side: 'new' as const, startLine: 2, line: 3, headSha: 'c'.repeat(40), quoted: 'let a = ```\nlet b', body: 'Name these.', replies: [{ author: 'admin second', body: 'And test them.' }] }
    const { server } = await play([finish], { evidence: [{ attemptId: 'ATT-00000000', number: 1, failureClass: 'policy', reason: 'Not yet.', comments: [comment, { ...comment, side: 'old', startLine: 3, quoted: '' }] }] })
    const first = server.requests[0]?.body.messages[0]?.content[0]?.text ?? ''
    for (const piece of [
      'Attempt 1 (ATT-00000000) came back from review\nNot yet.', 'src/a.js, lines 2 to 3 (as of cccccccccccc), admin first:\n````\nlet a = ```\nlet b\n````\nName these.\nadmin second answers: And test them.',
      'src/a.js, line 3 of what the change takes away (as of cccccccccccc), admin first:\nName these.',
    ]) expect(first).toContain(piece)
  })

  test('answers wrong inputs, unknown tools and failing tools as errors that the model can mend', async () => {
    const { run, server } = await play([
      say({ calls: [['read_file', { file: 'x' }], ['teleport', {}], ['read_file', { path: 'none.js' }], ['edit_file', { path: 'a.js', old_string: 'x', new_string: 'y' }], ['grep', { pattern: '(' }]] }),
      (response, request) => {
        expect(request.body.messages.at(-1)?.content.map((block) => block.is_error)).toEqual([true, true, true, true, true])
        finish(response, request)
      },
    ], { files: { 'a.js': 'x x\n' } })
    expect(run.outcome.type).toBe('finished')
    const texts = server.lastResults().map((result) => result.content)
    expect(texts[0]).toContain('path:')
    expect(texts[1]).toContain('There is no tool teleport')
    expect(texts[2]).toContain('none.js does not exist')
    expect(texts[3]).toContain('occurs 2 times')
    expect(texts[4]).toContain('The search was refused')
  })

  test('refuses to replace a file that was not read whole, or that changed since', async () => {
    const { server, workspace } = await play([
      say({ calls: [['write_file', { path: 'a.js', content: 'short\n' }]] }),
      say({ calls: [['read_file', { path: 'a.js', start_line: 1, end_line: 2 }], ['write_file', { path: 'a.js', content: 'short\n' }]] }),
      say({ calls: [['read_file', { path: 'a.js' }], ['bash', { command: 'echo more >> a.js' }], ['write_file', { path: 'a.js', content: 'short\n' }]] }),
      say({ calls: [['read_file', { path: 'a.js' }], ['edit_file', { path: 'a.js', old_string: 'more', new_string: 'less' }], ['write_file', { path: 'a.js', content: 'whole\n' }]] }),
      finish,
    ], { files: { 'a.js': 'one\ntwo\nthree\n' } })
    const results = server.requests.slice(1).map((request) => request.body.messages.at(-1)?.content.filter((block) => block.type === 'tool_result').at(-1))
    expect(results.map((block) => block?.is_error === true)).toEqual([true, true, true, false])
    expect(results[0]?.content).toContain('have not seen its present content whole')
    expect(read(workspace, 'a.js')).toBe('whole\n')
  })

  test('refuses to give a file over the limit whole, instead of cutting it', async () => {
    const { server } = await play([say({ calls: [['read_file', { path: 'big.txt' }], ['read_file', { path: 'big.txt', start_line: 2, end_line: 3 }]] }), finish], { files: { 'big.txt': 'line of text\n'.repeat(10_000) } })
    expect(server.lastResults()).toEqual([{ content: expect.stringContaining('130000 bytes, more than the 100000'), isError: true }, { content: '[Part of big.txt: lines 2 to 3 of 10000]\nline of text\nline of text', isError: false }])
  })

  test('keeps file tools inside the workspace, symbolic links included', async () => {
    const workspace = harness.workspace()
    symlinkSync(harness.folder, path.join(workspace, 'out'))
    const { server } = await play([say({ calls: [
      ['read_file', { path: path.join(harness.folder, 'agent.mjs') }], ['read_file', { path: 'out/agent.mjs' }], ['read_file', { path: '../agent.mjs' }], ['write_file', { path: 'out/escaped', content: 'x' }], ['write_file', { path: '.git/hooks/pre-commit', content: 'x' }],
    ] }), finish], { workspace })
    expect(server.lastResults().map((result) => result.isError)).toEqual([true, true, true, true, true])
    expect(existsSync(path.join(harness.folder, 'escaped'))).toBe(false)
  })

  test('kills a command at its timeout with all that it started, and goes on', async () => {
    const { run, server, workspace } = await play([say({ calls: [['bash', { command: 'sleep 600 & echo $! > pid; echo begun; wait', timeout_seconds: 1 }]] }), finish])
    expect(server.lastResults()[0]?.content).toBe('begun\n[killed after 1 s]')
    expect(existsSync(`/proc/${read(workspace, 'pid').trim()}/cwd`)).toBe(false)
    expect(run.outcome.type).toBe('finished')
  })

  test('does not finish in a turn in which another call failed', async () => {
    const { run, server } = await play([say({ calls: [['finish', { summary: 'Early.' }], ['read_file', { path: 'none' }]] }), finish])
    expect(server.lastResults()[0]).toEqual({ content: expect.stringContaining('another call of this turn failed'), isError: true })
    expect(run.outcome).toEqual({ type: 'finished', summary: 'Done.' })
  })
})

describe('a question to a person', () => {
  test('ends the run with the transcript, and the resumed run gets the answer beside the other results', async () => {
    const asked = await play([say({ calls: [['ask_human', { question: 'Which dealer?', options: ['first', 'last'] }], ['read_file', { path: 'README.md' }]] })])
    if (asked.run.outcome.type !== 'question') throw new Error(`outcome ${asked.run.outcome.type}`)
    const { question, options, toolUseId, transcript } = asked.run.outcome
    expect({ question, options }).toEqual({ question: 'Which dealer?', options: ['first', 'last'] })
    const resumed = await play([finish], { workspace: asked.workspace, resume: { transcript, toolUseId, answer: 'The last one.' } })
    expect(resumed.run.outcome.type).toBe('finished')
    const messages = resumed.server.requests[0]?.body.messages ?? []
    expect(messages.map((message) => message.role)).toEqual(['user', 'assistant', 'user'])
    expect(resumed.server.lastResults().map((result) => result.content)).toEqual(['# Sample\n', 'The last one.'])
    expect(resumed.run.events[0]).toMatchObject({ type: 'turn', number: 2 })
  })

  test('that was the only call resumes too; a transcript that does not hold it is refused', async () => {
    const asked = await play([say({ calls: [['ask_human', { question: 'Which?' }]] })])
    if (asked.run.outcome.type !== 'question') throw new Error(`outcome ${asked.run.outcome.type}`)
    const { transcript, toolUseId } = asked.run.outcome
    const resumed = await play([finish], { workspace: asked.workspace, resume: { transcript, toolUseId, answer: 'This.' } })
    expect(resumed.server.lastResults()).toEqual([{ content: 'This.', isError: false }])
    const wrong = await play([finish], { workspace: asked.workspace, resume: { transcript, toolUseId: 'toolu_x', answer: 'This.' } })
    expect(wrong.run.outcome).toMatchObject({ type: 'failed', failureClass: 'infrastructure', reason: 'bad_transcript' })
  })
})

describe('how a run ends', () => {
  const look = say({ calls: [['glob', { pattern: '**' }]] })

  test('at the turn limit, after a warning', async () => {
    const { run, server } = await play([look, look, look], { limits: { turns: 3 } })
    expect(run.outcome).toMatchObject({ type: 'failed', failureClass: 'agent', reason: 'turn_limit' })
    expect(server.requests[1]?.body.messages.at(-1)?.content.at(-1)?.text).toContain('2 turns are left')
  })

  test('at the token limit; tokens read from the cache do not count', async () => {
    const usage = { input_tokens: 100, cache_creation_input_tokens: 300, cache_read_input_tokens: 90_000, output_tokens: 1 }
    const turn = say({ calls: [['glob', { pattern: '**' }]], usage })
    const { run, server } = await play([turn, turn, turn, turn], { limits: { tokens: 1_000 } })
    expect(run.outcome).toMatchObject({ type: 'failed', failureClass: 'agent', reason: 'token_limit' })
    expect(server.requests).toHaveLength(3)
    expect(run.events[0]).toMatchObject({ inputTokens: 400, cacheReadTokens: 90_000, outputTokens: 20 })
  })

  test('at the time limit, in the middle of a command', async () => {
    const { run } = await play([say({ calls: [['bash', { command: 'sleep 600' }]] })], { limits: { minutes: 0.02 } })
    expect(run.outcome).toMatchObject({ type: 'failed', failureClass: 'agent', reason: 'time_limit' })
  })

  test('after one reminder when the model stops: finished with work in the tree, failed without', async () => {
    const worked = await play([say({ calls: [['write_file', { path: 'a', content: 'x' }]] }), say({ text: 'All done.' }), say({ text: 'Really done.' })])
    expect(worked.run.outcome).toEqual({ type: 'finished', summary: 'Really done.' })
    expect(worked.server.requests[2]?.body.messages.at(-1)?.content[0]?.text).toContain('without calling a tool')
    const idle = await play([say({ text: 'Done.' }), say({ text: 'Done.' })])
    expect(idle.run.outcome).toMatchObject({ type: 'failed', failureClass: 'agent', reason: 'no_finish' })
    const empty = await play([say({}), say({})])
    expect(empty.run.outcome).toMatchObject({ reason: 'no_finish' })
    expect(empty.server.requests[1]?.body.messages.map((message) => message.role)).toEqual(['user'])
  })

  test('never runs a call that max_tokens cut, even when its JSON is whole', async () => {
    const cut = await play([say({ calls: [['write_file', { path: 'a.js', content: 'half' }]], stop: 'max_tokens' }), say({ calls: [['write_file', { path: 'a.js' }]], rawInput: '{"path":"a.js","content":"ha', stop: 'max_tokens' }), finish])
    expect(existsSync(path.join(cut.workspace, 'a.js'))).toBe(false)
    expect(cut.server.lastResults()).toEqual([{ content: expect.stringContaining('was cut at the output limit'), isError: true }])
    const endless = await play([say({ text: 'a', stop: 'max_tokens' }), say({ text: 'b', stop: 'max_tokens' }), say({ text: 'c', stop: 'max_tokens' })])
    expect(endless.run.outcome).toMatchObject({ failureClass: 'agent', reason: 'output_limit' })
  })

  test.each<[string, Answer, Record<string, string>]>([
    ['an input that is no JSON', say({ calls: [['write_file', {}]], rawInput: '{"path":"a.js","content":"half of it' }), { failureClass: 'model', reason: 'malformed_output' }],
    ['an event that is no JSON', (response) => { begin(response); response.end('event: content_block_start\ndata: {"type":\n\n') }, { failureClass: 'model', reason: 'malformed_output' }],
    ['a refusal', say({ text: 'No.', stop: 'refusal' }), { failureClass: 'model', reason: 'refusal' }],
    ['overload', refuse(529, { type: 'overloaded_error', message: 'Busy' }), { failureClass: 'model', reason: 'overloaded_error' }],
    ['a server fault', refuse(500, { type: 'api_error', message: 'Oh' }), { failureClass: 'model', reason: 'api_error' }],
    ['a bad request', refuse(400, { type: 'invalid_request_error', message: 'No such model' }), { failureClass: 'model', reason: 'invalid_request_error' }],
    ['402', refuse(402, { type: 'billing_error', message: 'No money' }), { failureClass: 'budget', reason: 'billing_error' }],
    ['a budget code', refuse(403, { type: 'permission_error', code: 'budget_exhausted', message: 'Ceiling' }), { failureClass: 'budget', reason: 'budget_exhausted' }],
  ])('on %s, after one call', async (_, answer, outcome) => {
    const { run, server, workspace } = await play([answer, finish], { limits: { modelSilenceSeconds: 0.8 } })
    expect(run.outcome).toMatchObject({ type: 'failed', ...outcome })
    expect(server.requests).toHaveLength(1)
    expect(existsSync(path.join(workspace, 'a.js'))).toBe(false)
  })

  test.each<[string, Answer, Record<string, string>]>([
    ['a stream that is cut', say({ text: 'I will', cut: true }), { failureClass: 'model', reason: 'cut_stream' }],
    ['a connection that is reset', (response) => { begin(response); setImmediate(() => response.destroy()) }, { failureClass: 'model', reason: 'cut_stream' }],
    ['silence', (response) => void begin(response), { failureClass: 'model', reason: 'silence' }],
    ['silence before the headers', () => undefined, { failureClass: 'model', reason: 'silence' }],
    ['overload in the middle of a stream', (response) => { begin(response)({ type: 'error', error: { type: 'overloaded_error', message: 'Busy' } }); response.end() }, { failureClass: 'model', reason: 'overloaded_error' }],
  ])('asks for the turn again on %s, up to three times, and uses nothing of what broke off', async (_, answer, outcome) => {
    const over = { limits: { modelSilenceSeconds: 0.8 } }
    const once = await play([answer, say({ calls: [['write_file', { path: 'a.js', content: 'whole' }]] }), finish], over)
    expect(once.run.outcome).toMatchObject({ type: 'finished' })
    expect(once.server.requests.map(({ body }) => body.messages.length)).toEqual([1, 1, 3])
    expect(read(once.workspace, 'a.js')).toBe('whole')
    const ever = await play([answer, answer, answer, finish], over)
    expect(ever.run.outcome).toMatchObject({ type: 'failed', ...outcome })
    expect(ever.server.requests).toHaveLength(3)
    expect(existsSync(path.join(ever.workspace, 'a.js'))).toBe(false)
  })

  test('is not what a gateway out of reach means: the call is made again, and the conversation goes on', async () => {
    const away = refuse(502, { type: 'egress_unreachable', code: 'egress_unreachable', message: 'connect ECONNREFUSED' })
    const { run, server } = await play([away, away, finish])
    expect(run.outcome).toMatchObject({ type: 'finished' })
    expect(server.requests.map(({ body }) => body.messages)).toEqual([1, 2, 3].map(() => server.requests[0]?.body.messages))
  })

  test('when nothing listens at the model address', async () => {
    const run = await harness.run(buildTask(harness.workspace(), { template: 'claude', model: 'test' }, { modelBaseUrl: 'http://127.0.0.1:9' }))
    expect(run.outcome).toMatchObject({ type: 'failed', failureClass: 'model', reason: 'unreachable' })
  })
})

describe('a context over its budget', () => {
  test('loses older tool results with a note in their place, and what they showed counts as unread', async () => {
    const big = 'x'.repeat(6_000)
    const usage = { input_tokens: 5_000, output_tokens: 1 }
    const { run, server, workspace } = await play([
      say({ calls: [['read_file', { path: 'big.js' }]], usage: { input_tokens: 100, output_tokens: 1 } }),
      say({ calls: [['glob', { pattern: '*' }]], usage }),
      say({ calls: [['glob', { pattern: '*' }]], usage }),
      say({ calls: [['write_file', { path: 'big.js', content: 'gone' }]], usage }),
      finish,
    ], { files: { 'big.js': big }, claude: { contextTokens: 4_000 } })
    expect(run.events.find((event) => event.type === 'compacted')).toMatchObject({ elided: 1 })
    const results = server.requests[4]?.body.messages.flatMap((message) => message.content).filter((block) => block.type === 'tool_result')
    expect(results?.[0]?.content).toContain('[Left out to save context: the 6000 characters that read_file answered.')
    expect(results?.at(-1)).toMatchObject({ is_error: true })
    expect(read(workspace, 'big.js')).toBe(big)
    expect(run.outcome.type).toBe('finished')
  })
})
