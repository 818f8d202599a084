import { test } from 'vitest'
import { twoPeople } from './two-people.ts'
test('x', async () => { await twoPeople({ driver: 'process' }) }, 170_000)
