import { test } from 'vitest'
import { twoPeople } from './two-people.ts'

test('an idea is clarified, approved, built in microVMs, reviewed and merged through the public API by two people with different roles', async () => {
  await twoPeople({})
})
