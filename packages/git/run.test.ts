import { mkdtemp, rm, writeFile, mkdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { assertRevision, git, resolveCommit } from './run.ts'

let repo: string
beforeAll(async () => {
  repo = await mkdtemp(join(tmpdir(), 'swarm-git-run-'))
  await git(repo, ['init', '-q', '-b', 'main'])
})
afterAll(() => rm(repo, { recursive: true, force: true }))

const author = { GIT_AUTHOR_NAME: 'a', GIT_AUTHOR_EMAIL: 'a@b', GIT_COMMITTER_NAME: 'a', GIT_COMMITTER_EMAIL: 'a@b' }

describe('git', () => {
  test('passes input and gives back text and bytes', async () => {
    const { stdout, bytes } = await git(repo, ['hash-object', '-w', '--stdin'], { input: 'hello\n' })
    expect(stdout.trim()).toBe('ce013625030ba8dba906f756967f9e9ca394464a')
    expect(bytes.length).toBe(41)
  })

  test('fails with git_failed, the command and what git said, without credentials', async () => {
    await expect(git(repo, ['fetch', 'https://user:secret@127.0.0.1:1/x'])).rejects.toMatchObject({ code: 'git_failed', details: { exitCode: 128, command: 'fetch https://***@127.0.0.1:1/x' } })
    await expect(git(repo, ['cat-file', '-p', 'nothing'])).rejects.toMatchObject({ code: 'git_failed', details: { stderr: expect.stringContaining('nothing') } })
  })

  test('takes listed exit codes as answers', async () => {
    expect((await git(repo, ['rev-parse', '--verify', '-q', 'nothing'], { okCodes: [0, 1] })).code).toBe(1)
  })

  test('runs no hook of the repository', async () => {
    await mkdir(join(repo, '.git/hooks'), { recursive: true })
    await writeFile(join(repo, '.git/hooks/pre-commit'), '#!/bin/sh\nexit 1\n', { mode: 0o755 })
    await git(repo, ['commit', '-q', '--allow-empty', '-m', 'x'], { env: author })
    expect(await resolveCommit(repo, 'HEAD')).toMatch(/^[0-9a-f]{40}$/)
  })

  test('stops at the output limit and at an abort', async () => {
    const { stdout } = await git(repo, ['hash-object', '-w', '--stdin'], { input: 'x'.repeat(100_000) })
    await expect(git(repo, ['cat-file', 'blob', stdout.trim()], { maxBytes: 1_000 })).rejects.toMatchObject({ code: 'git_output_too_large' })
    await expect(git(repo, ['status'], { signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow('stop')
  })

  test('says git_missing for a folder that is not there', async () => {
    await expect(git(join(repo, 'none'), ['status'])).rejects.toMatchObject({ code: 'git_missing' })
  })
})

describe('revisions', () => {
  test('what could be an option, a range or a pattern is refused', () => {
    for (const bad of ['', '-h', '--output=/etc/x', 'a..b', 'a b', 'a\nb', ':/fix', 'a*', 'x\0']) expect(() => assertRevision(bad), bad).toThrow(expect.objectContaining({ code: 'invalid_revision' }))
    for (const good of ['main', 'HEAD~3', 'v1.2^{commit}', 'refs/heads/fähig', 'a@{1}']) expect(assertRevision(good)).toBe(good)
  })

  test('no accepted revision begins like an option', () => {
    fc.assert(fc.property(fc.string(), (text) => {
      try {
        expect(assertRevision(text).startsWith('-')).toBe(false)
      } catch (error) {
        expect(error).toMatchObject({ code: 'invalid_revision' })
      }
    }))
  })

  test('an unknown one and a folder without repository are told apart', async () => {
    await expect(resolveCommit(repo, 'nothing')).rejects.toMatchObject({ code: 'unknown_revision' })
    const plain = await mkdtemp(join(tmpdir(), 'swarm-git-plain-'))
    await expect(resolveCommit(plain, 'HEAD')).rejects.toMatchObject({ code: 'not_a_repository' })
    await rm(plain, { recursive: true })
  })
})
