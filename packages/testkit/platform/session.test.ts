import { test } from 'vitest'
import { eachDialect } from '@swarm/server/db/testing.ts'
import { wholeSession } from './whole-session.ts'

eachDialect((_dialect, make) => {
  test('a whole session runs from spec to main with agents as plain processes', async () => {
    await using place = await make()
    await wholeSession({ driver: 'process', place })
  }, 120_000)
})
