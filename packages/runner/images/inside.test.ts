import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { resolveInside, writeInto } from './inside.ts'

let folder: string
let tree: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'swarm-inside-test-'))
  tree = join(folder, 'tree')
  mkdirSync(join(tree, 'usr/bin'), { recursive: true })
  mkdirSync(join(folder, 'host'))
  symlinkSync('usr/bin', join(tree, 'bin'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

test('a file is written with its mode, below links and folders that did not exist, and replaces what was there', () => {
  writeInto(tree, '/bin/tool', Buffer.from('old'), 0o644)
  writeInto(tree, '/bin/tool', Buffer.from('new'), 0o755)
  expect(readFileSync(join(tree, 'usr/bin/tool'), 'utf8')).toBe('new')
  expect(statSync(join(tree, 'usr/bin/tool')).mode & 0o777).toBe(0o755)
  writeInto(tree, '/etc/a/b.conf', Buffer.from('x'), 0o600)
  expect(statSync(join(tree, 'etc/a/b.conf')).mode & 0o777).toBe(0o600)
})

test('no link of the image leads to the host', () => {
  for (const [name, target] of [['absolute', join(folder, 'host')], ['relative', '../host'], ['far', '../../../../../../../..'], ['chain', '/absolute']] as const) symlinkSync(target, join(tree, name))
  expect(resolveInside(tree, '/absolute/x')).toBe(join(tree, folder, 'host/x'))
  expect(resolveInside(tree, '/relative/x')).toBe(join(tree, 'host/x'))
  expect(resolveInside(tree, '/far/etc/passwd')).toBe(join(tree, 'etc/passwd'))
  expect(resolveInside(tree, '/chain/x')).toBe(join(tree, folder, 'host/x'))
  // The last part may be a link as well.
  writeFileSync(join(folder, 'host/file'), 'host')
  symlinkSync(join(folder, 'host/file'), join(tree, 'linked'))
  writeInto(tree, '/linked', Buffer.from('image'), 0o644)
  expect(readFileSync(join(folder, 'host/file'), 'utf8')).toBe('host')
})

test('a loop of links, a folder and a file in the way are named', () => {
  symlinkSync('loop', join(tree, 'loop'))
  writeFileSync(join(tree, 'file'), '')
  for (const [path, problem] of [['/loop/x', 'too many links'], ['/usr', 'is a folder'], ['/file/x', 'no folder']] as const) {
    expect(() => writeInto(tree, path, Buffer.from(''), 0o644)).toThrow(problem)
  }
})
