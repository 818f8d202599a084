import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { git } from '@swarm/git/run.ts'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { commitFiles, createBare, identity } from '../integrations/builtin-code-host/bare.ts'
import { alignMain } from './main-ref.ts'

const SNAPSHOT_SECOND = 2_000_000_000
const AT = SNAPSHOT_SECOND * 1000 + 500

let folder: string
let path: string
let start: string
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'swarm-main-'))
  path = join(folder, 'r.git')
  await createBare(path, 'main', async (draft) => { start = await commitFiles(draft, 'main', { 'a.txt': 'a\n' }, 'Start\n') })
})
afterEach(() => { rmSync(folder, { recursive: true, force: true }) })

/** Moves main by one commit at that second. */
async function move(second: number): Promise<string> {
  const before = await main()
  const sha = (await git(path, ['commit-tree', `${before}^{tree}`, '-p', before, '-m', String(second)], { env: identity(second) })).stdout.trim()
  await git(path, ['update-ref', '--create-reflog', '-m', 'swarm', 'refs/heads/main', sha, before], { env: identity(second) })
  return sha
}
const main = async (): Promise<string> => (await git(path, ['rev-parse', 'refs/heads/main'])).stdout.trim()
const newestInLog = (): string => readFileSync(join(path, 'logs', 'refs', 'heads', 'main'), 'utf8').trimEnd().split('\n').at(-1)?.split(' ')[1] ?? ''

test('main stays at what it had before the snapshot, known or not: whoever pushed it, it was there', async () => {
  const pushed = await move(SNAPSHOT_SECOND - 1)
  expect(alignMain(path, 'main', new Set(), AT)).toBeNull()
  expect([await main(), newestInLog()]).toEqual([pushed, pushed])
})

test('a merge that came after the snapshot is taken back, with its line of the reflog; its commits stay', async () => {
  const before = await move(SNAPSHOT_SECOND - 1)
  const later = [await move(SNAPSHOT_SECOND), await move(SNAPSHOT_SECOND + 3)]
  expect(alignMain(path, 'main', new Set(), AT)).toBe(before)
  expect([await main(), newestInLog()]).toEqual([before, before])
  for (const sha of later) await git(path, ['cat-file', '-e', sha])
  await git(path, ['fsck', '--connectivity-only'])
})

test('a merge of the same second stays when the database names it', async () => {
  await move(SNAPSHOT_SECOND - 1)
  const named = await move(SNAPSHOT_SECOND)
  await move(SNAPSHOT_SECOND + 1)
  expect(alignMain(path, 'main', new Set([named]), AT)).toBe(named)
  expect(await main()).toBe(named)
})

test('a line of the reflog whose move was not done yet is no value that main had', async () => {
  expect(start).toBe(await main())
  const before = await move(SNAPSHOT_SECOND - 1)
  const ahead = 'e'.repeat(40)
  appendFileSync(join(path, 'logs', 'refs', 'heads', 'main'), `${before} ${ahead} Swarm <swarm@swarm.internal> ${SNAPSHOT_SECOND - 1} +0000\tswarm\n`)
  expect(alignMain(path, 'main', new Set([ahead]), AT)).toBeNull()
  expect([await main(), newestInLog()]).toEqual([before, before])
})
