import { test } from 'vitest'
import { wholeSession } from './whole-session.ts'

test('a spec becomes tickets, claude agents work on them in microVMs, a question is answered, a refused attempt is repaired, and main has it all', async () => {
  await wholeSession({})
})
