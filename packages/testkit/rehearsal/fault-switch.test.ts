import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { parseScript } from './script.ts'
import { startRehearsal, type Rehearsal } from './server.ts'

let folder: string
let rehearsal: Rehearsal
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rehearsal-faults-'))
  rehearsal = await startRehearsal({ script: parseScript('version: 1\nscenes:\n  - turns:\n      - tools: [{ name: bash, input: { command: ls } }]\n', { file: 'play.yaml', folder }), logFile: join(folder, 'calls.jsonl') })
})
afterEach(async () => {
  await rehearsal[Symbol.asyncDispose]()
  await rm(folder, { recursive: true })
})

const change = (method: string, body?: unknown): Promise<Response> => fetch(`${rehearsal.url}/rehearsal/faults`, { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) })
const call = (stream = false): Promise<Response> => fetch(`${rehearsal.url}/v1/messages`, {
  method: 'POST', headers: { 'x-api-key': 'none', 'anthropic-version': '2023-06-01' }, body: JSON.stringify({ model: 'claude-opus-5-5', max_tokens: 100, stream, messages: [{ role: 'user', content: 'Begin.' }] }),
})
const logged = async (): Promise<unknown[]> => (await readFile(join(folder, 'calls.jsonl'), 'utf8')).trim().split('\n').map((line) => (JSON.parse(line) as { fault: unknown }).fault)

test('a fault that is switched on is met by so many calls, whoever makes them, and stands in the log by its label', async () => {
  expect(await (await change('POST', { label: 'busy', times: 2, fault: { kind: 'fail', status: 529, retryAfter: 3 } })).json()).toMatchObject({ pending: [{ label: 'busy' }] })
  const first = await call()
  expect([first.status, first.headers.get('retry-after')]).toEqual([529, '3'])
  expect([(await call()).status, (await call()).status]).toEqual([529, 200])
  expect(await logged()).toEqual(['busy: fail 529', 'busy: fail 529', null])
})

test('garbage, a broken tool input and a cut stream can be switched on, and all of them off again', async () => {
  await change('POST', { label: 'odd', fault: { kind: 'garbage' } })
  await change('POST', { label: 'half', fault: { kind: 'malformed' } })
  await change('POST', { label: 'short', fault: { kind: 'cut', afterEvents: 2 } })
  expect(await (await call()).text()).toContain('<html>')
  expect(await (await call(true)).text()).toContain('message_stop')
  await expect((await call(true)).text()).rejects.toThrow()
  expect(await logged()).toEqual(['odd: garbage', 'half: malformed', 'short: cut'])
  await change('POST', { label: 'never', fault: { kind: 'garbage' } })
  expect(await (await change('DELETE')).json()).toEqual({ pending: [] })
  expect((await call()).headers.get('content-type')).toContain('application/json')
})

test('what is no fault is refused with the reason', async () => {
  const answer = await change('POST', { label: 'x', fault: { kind: 'fail', status: 418 } })
  expect(answer.status).toBe(400)
  expect(await answer.text()).toContain('status')
  expect(await (await change('GET')).json()).toEqual({ pending: [] })
})
