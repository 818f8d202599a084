import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Anthropic, { APIConnectionError, APIError } from '@anthropic-ai/sdk'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parseScript } from './script.ts'
import { startRehearsal, type Rehearsal } from './server.ts'

let folder: string
let rehearsal: Rehearsal | undefined
beforeEach(async () => { folder = await mkdtemp(join(tmpdir(), 'rehearsal-server-')) })
afterEach(async () => {
  await rehearsal?.[Symbol.asyncDispose]()
  await rm(folder, { recursive: true })
})

async function play(scenes: string): Promise<Anthropic> {
  rehearsal = await startRehearsal({ script: parseScript(`version: 1\nscenes:\n${scenes}`, { file: 'play.yaml', folder }), logFile: join(folder, 'calls.jsonl') })
  return new Anthropic({ baseURL: rehearsal.url, apiKey: 'none', maxRetries: 0 })
}
const status = () => rehearsal?.status() ?? expect.fail('not started')
const ask = (text = 'Begin.', extra: Partial<Anthropic.MessageCreateParamsNonStreaming> = {}): Anthropic.MessageCreateParamsNonStreaming => ({ model: 'claude-opus-5-5', max_tokens: 4_096, messages: [{ role: 'user', content: text }], ...extra })
async function refused(call: Promise<unknown>): Promise<APIError> {
  try {
    await call
  } catch (error) {
    if (error instanceof APIError) return error
    throw error
  }
  return expect.fail('the call was answered')
}

const WRITE = '  - turns:\n      - say: I write – ✓.\n        tools:\n          - { name: write_file, input: { path: a.txt, content: "é\\n" } }\n          - { name: bash, input: { command: ls } }\n      - expect: [listing]\n        finish: done\n'

describe('with the official SDK', () => {
  it('streams text and tool calls that the SDK puts together, and says the same without streaming', async () => {
    const client = await play(WRITE)
    const streamed = await client.messages.stream(ask()).finalMessage()
    expect(streamed.content).toMatchObject([{ type: 'text', text: 'I write – ✓.' }, { type: 'tool_use', name: 'write_file', input: { path: 'a.txt', content: 'é\n' } }, { type: 'tool_use', name: 'bash' }])
    expect(streamed).toMatchObject({ stop_reason: 'tool_use', model: 'rehearsal-claude-opus-5-5' })
    const { data, response } = await client.messages.create(ask()).withResponse()
    expect(data.content).toEqual(streamed.content.map((block) => (block.type === 'text' ? block : expect.objectContaining({ type: 'tool_use', input: block.type === 'tool_use' ? block.input : null }))))
    expect(response.headers.get('x-swarm-rehearsal')).toBe('true')
    expect(data.usage).toMatchObject({ input_tokens: streamed.usage.input_tokens, output_tokens: streamed.usage.output_tokens })
  })

  it('plays the turn that the conversation has come to, so that a repeated call gets the same answer', async () => {
    const client = await play(WRITE)
    const first = await client.messages.create(ask())
    expect((await client.messages.create(ask())).id).toBe(first.id)
    const results = first.content.filter((block) => block.type === 'tool_use').map((block) => ({ type: 'tool_result' as const, tool_use_id: block.id, content: 'the listing' }))
    const second = await client.messages.create({ ...ask(), messages: [{ role: 'user', content: 'Begin.' }, { role: 'assistant', content: first.content }, { role: 'user', content: results }] })
    expect(second.content).toMatchObject([{ name: 'finish', input: { summary: 'done' } }])
    expect(status()).toMatchObject({ served: 3, remaining: [], unmet: [], unmatched: [] })
  })

  it('counts a token per four bytes, and cache reads and writes where the request asks for them', async () => {
    const client = await play(WRITE)
    const messages: Anthropic.MessageParam[] = [{ role: 'user', content: 'x'.repeat(4_000) }]
    const plain = await client.messages.create({ ...ask(), messages })
    expect(plain.usage.input_tokens).toBe(Math.ceil(JSON.stringify(messages).length / 4))
    const cached = await client.messages.create({ ...ask(), messages, system: [{ type: 'text', text: 'Rules.', cache_control: { type: 'ephemeral' } }] })
    expect(cached.usage).toMatchObject({ input_tokens: 0, cache_read_input_tokens: 0 })
    expect(cached.usage.cache_creation_input_tokens).toBeGreaterThan(1_000)
  })

  it('cuts an answer at max_tokens as the API does', async () => {
    const client = await play(`  - turns:\n      - json: { tickets: ["${'y'.repeat(8_000)}"] }\n`)
    const answer = await client.messages.create(ask('Plan.', { max_tokens: 1_000, tools: [{ name: 'submit', input_schema: { type: 'object' } }] }))
    expect(answer).toMatchObject({ stop_reason: 'max_tokens', usage: { output_tokens: 1_000 }, content: [{ type: 'tool_use', name: 'submit', input: {} }] })
  })
})

describe('refuses as the API does', () => {
  it('401 without a key', async () => {
    await play(WRITE)
    const response = await fetch(`${rehearsal?.url}/v1/messages`, { method: 'POST', headers: { 'anthropic-version': '2023-06-01' }, body: JSON.stringify(ask()) })
    expect([response.status, await response.json()]).toMatchObject([401, { type: 'error', error: { type: 'authentication_error' } }])
  })
  it('400 for a conversation that the API would not take', async () => {
    const client = await play(WRITE)
    expect((await refused(client.messages.create({ ...ask(), messages: [] }))).message).toMatch(/messages/)
    const unanswered = await refused(client.messages.create({ ...ask(), messages: [{ role: 'user', content: 'a' }, { role: 'assistant', content: [{ type: 'tool_use', id: 'toolu_1', name: 'bash', input: {} }] }, { role: 'user', content: 'b' }] }))
    expect(unanswered.message).toMatch(/tool_use ids were found without tool_result blocks/)
  })
  it('400 for a forced tool on a model that always thinks, and serves it on one that does not', async () => {
    const client = await play('  - turns:\n      - json: { epics: [] }\n')
    const forced = { tools: [{ name: 'submit', input_schema: { type: 'object' as const } }], tool_choice: { type: 'tool' as const, name: 'submit' } }
    expect((await refused(client.messages.create(ask('Plan.', forced)))).message).toMatch(/not supported for this model/)
    expect((await client.messages.create(ask('Plan.', { ...forced, model: 'claude-opus-4-8' }))).content).toMatchObject([{ name: 'submit', input: { epics: [] } }])
  })
})

describe('expectations', () => {
  it('an unmet one is an error that names what is missing, and the run has failed', async () => {
    const client = await play('  - expect: [{ not: secret }]\n    turns:\n      - expect: [GATE-REWRITE, { matches: "TKT-\\\\d" }]\n        say: ok\n')
    const error = await refused(client.messages.create(ask('a secret')))
    expect(error.status).toBe(400)
    expect(error.type).toBe('rehearsal_expectation_unmet')
    expect(error.apiMessage).toMatch(/should not contain "secret"; the request should contain "GATE-REWRITE"; the request should match \/TKT/)
    expect(status().unmet).toHaveLength(1)
    expect((await client.messages.create(ask('TKT-1 GATE-REWRITE'))).content).toMatchObject([{ text: 'ok' }])
  })
  it('does not take the model\'s own words for the caller\'s', async () => {
    const client = await play('  - turns:\n      - say: magic\n      - expect: [magic]\n        say: never\n')
    const error = await refused(client.messages.create({ ...ask(), messages: [{ role: 'user', content: 'a' }, { role: 'assistant', content: 'magic' }, { role: 'user', content: 'b' }] }))
    expect(error.type).toBe('rehearsal_expectation_unmet')
  })
  it('a call that nothing answers says how to add it, and is in the status', async () => {
    const client = await play('  - role: designer\n    turns: [{ say: hello }]\n')
    expect((await refused(client.messages.create(ask()))).apiMessage).toMatch(/no scene answers a call with attempt "1"/)
    const response = await fetch(`${rehearsal?.url}/rehearsal/status`)
    expect(await response.json()).toMatchObject({ served: 0, unmatched: [expect.any(String)], remaining: ['scene 1, turn 1'] })
  })
})

describe('faults', () => {
  it('fails as often as the script says, with Retry-After, then answers', async () => {
    const client = await play('  - turns:\n      - say: ok\n        fail: { status: 529, retryAfter: 0.2, times: 2 }\n')
    for (const _ of [1, 2]) {
      const error = await refused(client.messages.create(ask()))
      expect([error.status, error.type, error.headers?.get('retry-after')]).toEqual([529, 'overloaded_error', '0.2'])
    }
    expect((await client.messages.create(ask())).content).toMatchObject([{ text: 'ok' }])
  })
  it('breaks the JSON of a tool input once', async () => {
    const client = await play('  - turns:\n      - tools: [{ name: bash, input: { command: "node --test" } }]\n        malformed: true\n')
    let json = ''
    for await (const event of await client.messages.create({ ...ask(), stream: true })) if (event.type === 'content_block_delta' && event.delta.type === 'input_json_delta') json += event.delta.partial_json
    expect(() => JSON.parse(json)).toThrow(SyntaxError)
    expect((await client.messages.stream(ask()).finalMessage()).content).toMatchObject([{ input: { command: 'node --test' } }])
  })
  it('cuts a stream after so many events, and logs what was served', async () => {
    const client = await play('  - turns:\n      - say: a long text\n        cut: { afterEvents: 3 }\n')
    const seen: string[] = []
    const cut = async (): Promise<void> => { for await (const event of await client.messages.create({ ...ask(), stream: true })) seen.push(event.type) }
    await expect(cut()).rejects.toThrow()
    expect(seen).toEqual(['message_start', 'content_block_start']) // the third is a ping, which the SDK swallows
    await client.messages.create(ask())
    const log = (await readFile(join(folder, 'calls.jsonl'), 'utf8')).trim().split('\n').map((line) => JSON.parse(line) as { complete: boolean; fault: string | null })
    expect(log).toMatchObject([{ complete: false, fault: 'cut' }, { complete: true, fault: null }])
  })
  it('is silent for as long as the script says', async () => {
    const client = await play('  - turns:\n      - say: at last\n        silence: { ms: 60000 }\n')
    await expect(client.messages.create(ask(), { timeout: 150 })).rejects.toBeInstanceOf(APIConnectionError)
    expect((await client.messages.create(ask())).content).toMatchObject([{ text: 'at last' }])
  })
})
