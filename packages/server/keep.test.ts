import { expect, test } from 'vitest'
import { keep } from './keep.ts'

test('what was read is kept by its key, also while it is being read; a failure is not, and the least used goes first', async () => {
  const read: string[] = []
  let failing = true
  const kept = keep(async (path: string, commit: string) => {
    read.push(`${path}@${commit}`)
    if (commit === 'bad' && failing) throw new Error('not now')
    return commit.toUpperCase()
  }, (path, commit) => `${path} ${commit}`, 2)
  expect(await Promise.all([kept('r', 'a'), kept('r', 'a'), kept('s', 'a')])).toEqual(['A', 'A', 'A'])
  expect(read).toEqual(['r@a', 's@a'])
  await kept('r', 'a')
  await kept('r', 'b')
  await kept('r', 'a')
  await kept('s', 'a')
  expect(read).toEqual(['r@a', 's@a', 'r@b', 's@a'])
  await expect(kept('r', 'bad')).rejects.toThrow('not now')
  failing = false
  expect(await kept('r', 'bad')).toBe('BAD')
})
