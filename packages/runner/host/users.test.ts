import { expect, test } from 'vitest'
import { takeUser } from './users.ts'

const RANGE = { first: 1_950_000_000, count: 3 }

test('each microVM gets a user that no other has, until all are taken; one that is given back is free again', () => {
  const users = [takeUser(RANGE), takeUser(RANGE), takeUser(RANGE)]
  expect(users.map(({ uid }) => uid).toSorted((a, b) => a - b)).toEqual([1_950_000_000, 1_950_000_001, 1_950_000_002])
  expect(() => takeUser(RANGE)).toThrow(/all 3 users for microVMs are taken/)
  users[1]?.[Symbol.dispose]()
  const again = takeUser(RANGE)
  expect(again.uid).toBe(users[1]?.uid)
  for (const user of [users[0], users[2], again]) user?.[Symbol.dispose]()
})

test('a user that some process of this host runs as is not given', () => {
  // Root has processes everywhere; 0 is the one that is passed by.
  const users = [takeUser({ first: 0, count: 2 })]
  expect(users.map(({ uid }) => uid)).not.toContain(0)
  for (const user of users) user[Symbol.dispose]()
})
