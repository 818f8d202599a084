import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mergePrices } from '@swarm/core/budgets/prices.ts'
import { afterAll, expect, test } from 'vitest'
import { eachDialect } from '../../db/testing.ts'
import { checkRecords } from './integrity.ts'
import { readServed } from './model-log.ts'

const folder = mkdtempSync(join(tmpdir(), 'swarm-model-log-test-'))
afterAll(() => { rmSync(folder, { recursive: true, force: true }) })
const file = join(folder, 'calls.jsonl')

const line = (callId: string, tokens = 10, model = 'rehearsal'): string => JSON.stringify({
  at: '2026-11-01T00:00:00Z', callId, model, complete: true, usage: { input_tokens: tokens, output_tokens: 0, cache_creation_input_tokens: 0, cache_read_input_tokens: 0 },
})
const NO_CALLS = new Map<string, never>()

test('a line that was torn, alone or joined with the next one, hides nothing else', async () => {
  const torn = line('TORN').slice(0, 90)
  writeFileSync(file, `${line('A')}\n${torn}${line('B')}\n${torn}\n${line('A')}\n${torn}`)
  expect((await readServed(file, NO_CALLS))?.map(({ callId, answers, inputTokens }) => [callId, answers, inputTokens])).toEqual([['A', 2, 20], ['B', 1, 10]])
})

test.each(['none of its lines', '{"level":30,"msg":"a log of something else"}'])('a file of something else is refused: %s', async (text) => {
  writeFileSync(file, `${text}\n`)
  await expect(readServed(file, NO_CALLS)).rejects.toMatchObject({ code: 'invalid_input' })
})

test('what was served is priced by the rows of the configuration as well', async () => {
  writeFileSync(file, `${line('A', 1_000_000, 'mine')}\n`)
  const price = { from: '2020-01-01', input: 7, output: 7, cacheWrite5m: 7, cacheWrite1h: 7, cacheRead: 7 }
  expect(await readServed(file, NO_CALLS)).toMatchObject([{ costMicroUsd: null }])
  expect(await readServed(file, NO_CALLS, mergePrices({ mine: [price] }))).toMatchObject([{ costMicroUsd: 7 }])
})

eachDialect((_dialect, make) => {
  test('what the model served past the gateway is reported, and a call that it answered with nothing is not', async () => {
    await using place = await make()
    await using _db = await place.open()
    const check = async (): Promise<unknown> => (await checkRecords({ home: place.home, databaseUrl: place.databaseUrl, modelLog: file, settled: true }, { leftovers: [], liveVms: [], processes: 0 })).violations
    writeFileSync(file, `${line('', 0)}\n`)
    expect(await check()).toEqual([])
    writeFileSync(file, `${line('')}\n${line('')}\n`)
    expect(await check()).toMatchObject([{ invariant: 'I7', message: expect.stringContaining('2 answers past the gateway') }])
  })
})
