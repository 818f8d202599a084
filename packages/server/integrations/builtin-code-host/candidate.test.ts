import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { git } from '@swarm/git/run.ts'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { commitFiles, compareAndSet, createBare, followRef, identity, readRef } from './bare.ts'
import { buildCandidate, describeConflict } from './candidate.ts'

let root: string
let path: string
let start: string
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'swarm-candidate-'))
  path = join(root, 'r.git')
  await createBare(path, 'main', async (draft) => { await commitFiles(draft, 'main', { 'a.txt': '1\n2\n3\n4\n5\n', 'b.txt': 'b\n' }, 'start\n') })
  start = (await readRef(path, 'refs/heads/main')) as string
})
afterAll(() => rm(root, { recursive: true, force: true }))

/** A commit on `parents` whose tree is that of the first with these files changed. */
async function commit(parents: string[], files: Record<string, string>, message: string): Promise<string> {
  const index = { GIT_INDEX_FILE: join(path, 'index-test') }
  await git(path, ['read-tree', parents[0] as string], { env: index })
  for (const [name, text] of Object.entries(files)) {
    const blob = (await git(path, ['hash-object', '-w', '--stdin'], { input: text })).stdout.trim()
    await git(path, ['update-index', '--add', '--cacheinfo', `100644,${blob},${name}`], { env: index })
  }
  const tree = (await git(path, ['write-tree'], { env: index })).stdout.trim()
  return (await git(path, ['commit-tree', tree, ...parents.flatMap((parent) => ['-p', parent]), '-F', '-'], { input: message, env: { ...identity(1_000_000_000), GIT_AUTHOR_NAME: 'dev agent', GIT_AUTHOR_EMAIL: 'dev@swarm.internal' } })).stdout.trim()
}
const show = async (sha: string, format: string) => (await git(path, ['log', '-1', `--format=${format}`, sha])).stdout.trim()
const text = async (sha: string, name: string) => (await git(path, ['show', `${sha}:${name}`])).stdout

describe('a merge candidate', () => {
  test('keeps each commit with its author, message and trailers on top of the new main', async () => {
    const one = await commit([start], { 'c.txt': 'c\n' }, 'Add c\n\nSwarm-Ticket: TKT-1\n')
    const two = await commit([one], { 'd.txt': 'd\n' }, 'Add d\n\nSwarm-Ticket: TKT-1\n')
    const main = await commit([start], { 'b.txt': 'bb\n' }, 'Change b\n')
    const built = await buildCandidate(path, { onto: main, head: two, at: 1_700_000_000 })
    if (built.kind !== 'clean') throw new Error(built.kind)
    expect((await git(path, ['rev-list', '--count', `${main}..${built.sha}`])).stdout.trim()).toBe('2')
    expect(await show(built.sha, '%an|%cn|%s|%(trailers:key=Swarm-Ticket,valueonly)')).toBe('dev agent|Swarm|Add d|TKT-1')
    expect([await text(built.sha, 'b.txt'), await text(built.sha, 'c.txt'), await text(built.sha, 'd.txt')]).toEqual(['bb\n', 'c\n', 'd\n'])
    expect(await buildCandidate(path, { onto: main, head: two, at: 1_700_000_000 })).toEqual(built)
  })

  test('is the head itself when main has not moved', async () => {
    const head = await commit([start], { 'c.txt': 'x\n' }, 'x\n')
    expect(await buildCandidate(path, { onto: start, head, at: 1 })).toMatchObject({ kind: 'clean', sha: head })
  })

  test('gives both sides of each file in conflict', async () => {
    const head = await commit([start], { 'a.txt': '1\n2\ntheirs\n4\n5\n' }, 'theirs\n')
    const main = await commit([start], { 'a.txt': '1\n2\nours\n4\n5\n' }, 'ours\n')
    const built = await buildCandidate(path, { onto: main, head, at: 1 })
    if (built.kind !== 'conflict') throw new Error(built.kind)
    expect(built.files).toEqual([{ path: 'a.txt', base: '1\n2\n3\n4\n5\n', ours: '1\n2\nours\n4\n5\n', theirs: '1\n2\ntheirs\n4\n5\n' }])
    expect(describeConflict(built)).toMatch(/CONFLICT[\s\S]*=== a\.txt[\s\S]*on main now[\s\S]*ours[\s\S]*in this change[\s\S]*theirs/)
  })

  test('says that a file was deleted on one side', async () => {
    const head = await commit([start], { 'b.txt': 'changed\n' }, 'x\n')
    const index = { GIT_INDEX_FILE: join(path, 'index-test') }
    await git(path, ['read-tree', start], { env: index })
    await git(path, ['update-index', '--index-info'], { env: index, input: `0 ${'0'.repeat(40)}\tb.txt\n` })
    const tree = (await git(path, ['write-tree'], { env: index })).stdout.trim()
    const main = (await git(path, ['commit-tree', tree, '-p', start, '-m', 'gone'], { env: identity(1) })).stdout.trim()
    expect(await buildCandidate(path, { onto: main, head, at: 1 })).toMatchObject({ kind: 'conflict', files: [{ path: 'b.txt', ours: null, theirs: 'changed\n' }] })
  })

  test('is one commit when the branch took main in by a merge', async () => {
    const mine = await commit([start], { 'a.txt': '1\n2\nmine\n4\n5\n' }, 'mine\n')
    const main = await commit([start], { 'a.txt': '1\n2\nmain\n4\n5\n' }, 'main\n')
    const resolved = await commit([mine, main], { 'a.txt': '1\n2\nboth\n4\n5\n' }, 'Resolve\n\nSwarm-Ticket: TKT-2\n')
    const built = await buildCandidate(path, { onto: main, head: resolved, at: 1 })
    if (built.kind !== 'clean') throw new Error(built.kind)
    expect(await text(built.sha, 'a.txt')).toBe('1\n2\nboth\n4\n5\n')
    expect(await show(built.sha, '%P')).toBe(main)
  })

  test('adds nothing when main has the same content already, or contains the head', async () => {
    const head = await commit([start], { 'c.txt': 'same\n' }, 'x\n')
    const main = await commit([start], { 'c.txt': 'same\n', 'z.txt': 'z\n' }, 'y\n')
    expect(await buildCandidate(path, { onto: main, head, at: 1 })).toMatchObject({ kind: 'clean', sha: main })
    expect(await buildCandidate(path, { onto: main, head: start, at: 1 })).toMatchObject({ kind: 'clean', sha: main })
  })

  test('is refused for a history of its own', async () => {
    const tree = (await git(path, ['rev-parse', `${start}^{tree}`])).stdout.trim()
    const orphan = (await git(path, ['commit-tree', tree, '-m', 'orphan'], { env: identity(5) })).stdout.trim()
    expect(await buildCandidate(path, { onto: start, head: orphan, at: 1 })).toEqual({ kind: 'unrelated' })
  })
})

describe('refs', () => {
  test('move only from where they are expected to be', async () => {
    const next = await commit([start], { 'q.txt': 'q\n' }, 'q\n')
    expect(await compareAndSet(path, 'refs/heads/x', start, null)).toBe(true)
    expect(await compareAndSet(path, 'refs/heads/x', next, null)).toBe(false)
    expect(await compareAndSet(path, 'refs/heads/x', next, next)).toBe(false)
    expect(await compareAndSet(path, 'refs/heads/x', next, start)).toBe(true)
    await followRef(path, 'refs/heads/x', start)
    expect(await readRef(path, 'refs/heads/x')).toBe(start)
  })
  test('of two that move it at once exactly one wins', async () => {
    const sides = await Promise.all([1, 2, 3, 4].map((n) => commit([start], { [`r${n}.txt`]: `${n}\n` }, `${n}\n`).catch(() => start)))
    const won = await Promise.all(sides.map((sha) => compareAndSet(path, 'refs/heads/race', sha, null)))
    expect(won.filter(Boolean)).toHaveLength(1)
  })
})
