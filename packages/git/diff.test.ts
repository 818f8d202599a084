import { mkdtemp, rm, writeFile, mkdir, symlink, chmod, rename } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { compileGlobs } from '@swarm/core/output/globs.ts'
import { diffLines, linesOf } from '@swarm/core/output/lines.ts'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { emptyTree, findMentions, mergeBase, readChange, readTextAt } from './diff.ts'
import { git } from './run.ts'

let repo: string
const who = { GIT_AUTHOR_NAME: 'a', GIT_AUTHOR_EMAIL: 'a@b', GIT_COMMITTER_NAME: 'a', GIT_COMMITTER_EMAIL: 'a@b' }
const put = async (path: string, text: string | Uint8Array) => {
  await mkdir(dirname(join(repo, path)), { recursive: true })
  await writeFile(join(repo, path), text)
}
const commit = async () => {
  await git(repo, ['add', '-A', '-f'])
  await git(repo, ['commit', '-q', '--allow-empty', '-m', 'x'], { env: who })
  return (await git(repo, ['rev-parse', 'HEAD'])).stdout.trim()
}
beforeAll(async () => {
  repo = await mkdtemp(join(tmpdir(), 'swarm-git-diff-'))
  await git(repo, ['init', '-q', '-b', 'main'])
})
afterAll(() => rm(repo, { recursive: true, force: true }))

describe('reading a change', () => {
  test('tells added, modified, deleted, renamed, mode, link, binary and submodule apart, whatever the names', async () => {
    const long = Array.from({ length: 30 }, (_, i) => `line ${i}`).join('\n')
    await put('a b\n"q"\t.txt', 'one\n')
    await put('old name.txt', `${long}\n`)
    await put('gone.txt', 'bye\n')
    await put('run.sh', '#!/bin/sh\n')
    await put('becomes-link', 'text\n')
    const base = await commit()
    await put('a b\n"q"\t.txt', 'two\n')
    await rename(join(repo, 'old name.txt'), join(repo, 'ñew.txt'))
    await put('ñew.txt', `${long}\nmore\n`)
    await rm(join(repo, 'gone.txt'))
    await chmod(join(repo, 'run.sh'), 0o755)
    await rm(join(repo, 'becomes-link'))
    await symlink('run.sh', join(repo, 'becomes-link'))
    await put('blob.bin', new Uint8Array([1, 0, 2]))
    await git(repo, ['update-index', '--add', '--cacheinfo', `160000,${base},module`])
    await git(repo, ['add', '-A', '-f', '--', '.', ':!module'])
    await git(repo, ['commit', '-q', '-m', 'x'], { env: who })
    const change = await readChange(repo, base, 'HEAD')
    const of = (path: string) => change.files.find((file) => file.path === path)
    expect(of('a b\n"q"\t.txt')).toMatchObject({ status: 'modified', before: { text: 'one\n' }, after: { text: 'two\n' } })
    expect(of('ñew.txt')).toMatchObject({ status: 'renamed', oldPath: 'old name.txt' })
    expect(of('gone.txt')).toMatchObject({ status: 'deleted', after: null })
    expect(of('run.sh')).toMatchObject({ status: 'modified', before: { mode: '100644' }, after: { mode: '100755' } })
    expect(of('becomes-link')).toMatchObject({ status: 'type_changed', after: { mode: '120000', text: 'run.sh' } })
    expect(of('blob.bin')).toMatchObject({ status: 'added', before: null, after: { binary: true, text: null, sizeBytes: 3 } })
    expect(of('module')).toMatchObject({ status: 'added', after: { mode: '160000', text: null } })
    expect(change.files).toHaveLength(7)
    await git(repo, ['rm', '-q', '--cached', 'module'])
  })

  test('reads a first commit against the empty tree, and an unchanged one as nothing', async () => {
    const change = await readChange(repo, await emptyTree(repo), 'HEAD')
    expect(change.fromNothing).toBe(true)
    expect(change.files.every((file) => file.status === 'added')).toBe(true)
    expect((await readChange(repo, 'HEAD', 'HEAD')).files).toEqual([])
  })

  test('does not read what is too large', async () => {
    const base = await commit()
    await put('large.txt', 'x'.repeat(3_000_000))
    await commit()
    expect((await readChange(repo, base, 'HEAD')).files[0]).toMatchObject({ after: { text: null, sizeBytes: 3_000_000, binary: false } })
  })

  test('finds the commit where a branch began, and falls back on the base', async () => {
    const start = await commit()
    const first = await commit()
    await git(repo, ['checkout', '-q', '-b', 'side', start])
    await put('side.txt', 'x')
    const side = await commit()
    expect(await mergeBase(repo, first, side)).toBe(start)
    expect(await mergeBase(repo, await emptyTree(repo), side)).toBe(await emptyTree(repo))
  })

  test('refuses what git could take for an option', async () => {
    await expect(readChange(repo, '--output=x', 'HEAD')).rejects.toMatchObject({ code: 'invalid_revision' })
    await expect(readChange(repo, 'no-such', 'HEAD')).rejects.toMatchObject({ code: 'unknown_revision' })
  })

  test('finds whole words in a tree with path and line', async () => {
    await put('dir/odd \n name.js', 'let a\ncall(needle)\nneedless\n')
    await commit()
    expect(await findMentions(repo, 'HEAD', ['needle', 'nowhere'])).toEqual([{ path: 'dir/odd \n name.js', line: 2, text: 'call(needle)' }])
    expect(await findMentions(repo, 'HEAD', [])).toEqual([])
    expect(await readTextAt(repo, 'HEAD', 'dir/none')).toBeNull()
  })
})

describe('line differences', () => {
  const text = fc.array(fc.constantFrom('a', 'b', 'c', 'd', '', '}'), { maxLength: 40 })
  test('removing and adding the named lines turns one text into the other', () => {
    fc.assert(fc.property(text, text, (before, after) => {
      const { removed, added } = diffLines(before, after)
      const gone = new Set(removed.map((line) => line.line - 1))
      const come = new Set(added.map((line) => line.line - 1))
      expect(before.filter((_, i) => !gone.has(i))).toEqual(after.filter((_, i) => !come.has(i)))
      for (const { line, text: content } of removed) expect(before[line - 1]).toBe(content)
      for (const { line, text: content } of added) expect(after[line - 1]).toBe(content)
    }), { numRuns: 500 })
  })

  test('a large replacement ends soon and is right', () => {
    const before = Array.from({ length: 20_000 }, (_, i) => `${(i * 7919) % 501}`)
    const after = Array.from({ length: 20_000 }, (_, i) => `${(i * 104_729) % 499}`)
    const started = performance.now()
    const { removed, added } = diffLines(before, after)
    expect(performance.now() - started).toBeLessThan(5_000)
    expect(removed.length - added.length).toBe(0)
  })

  test('lines are cut at either line end', () => {
    expect(linesOf('a\r\nb\n')).toEqual(['a', 'b'])
    expect(linesOf('')).toEqual([])
  })
})

describe('patterns', () => {
  const piece = fc.constantFrom('a', 'b', 'ab', '*', '**', '?', '[ab]', '[!a]', 'a*', '*b', '\\*', '.x', 'a?', '[a-c]x')
  const pattern = fc.tuple(fc.constantFrom('', '!', '/', '!/'), fc.array(piece, { minLength: 1, maxLength: 3 }), fc.constantFrom('', '/', '/**')).map(([head, parts, tail]) => head + parts.join('/') + tail)
  const path = fc.array(fc.constantFrom('a', 'b', 'ab', 'c', 'ax', 'bx', '.x', '*'), { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'))

  test('match exactly what git check-ignore matches', async () => {
    const empty = await mkdtemp(join(tmpdir(), 'swarm-git-globs-'))
    await git(empty, ['init', '-q'])
    await fc.assert(fc.asyncProperty(fc.array(pattern, { minLength: 1, maxLength: 4 }), fc.array(path, { minLength: 1, maxLength: 20 }), async (patterns, paths) => {
      await writeFile(join(empty, '.gitignore'), `${patterns.join('\n')}\n`)
      const { stdout } = await git(empty, ['check-ignore', '--no-index', '-z', '--stdin'], { input: paths.join('\0'), okCodes: [0, 1] })
      const ignored = new Set(stdout.split('\0'))
      const globs = compileGlobs(patterns)
      for (const each of paths) expect([patterns, each, globs.matches(each)]).toEqual([patterns, each, ignored.has(each)])
    }), { numRuns: 300 })
    await rm(empty, { recursive: true })
  })
})
