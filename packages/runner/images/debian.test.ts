import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { run } from '../host/run.ts'
import { literalName, NAMES_ALONE } from './debian.ts'
import { findTool } from './tools.ts'

let folder: string
beforeEach(() => { folder = mkdtempSync(join(tmpdir(), 'swarm-debian-test-')) })
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** What apt would install for this name out of an archive of four packages. */
async function installed(name: string): Promise<string[]> {
  const conf = join(folder, 'apt.conf')
  for (const each of ['archive', 'state/lists/partial', 'cache/archives/partial', 'empty']) mkdirSync(join(folder, each), { recursive: true })
  writeFileSync(join(folder, 'archive', 'Packages'), ['tini', 'g++', 'libx1', 'libx++1'].map((each) => `Package: ${each}\nVersion: 1\nArchitecture: all\nMaintainer: none\nFilename: ./${each}.deb\nSize: 1\nSHA256: ${'0'.repeat(64)}\nDescription: none\n`).join('\n'))
  for (const each of ['sources.list', 'status']) writeFileSync(join(folder, each), each === 'status' ? '' : `deb [trusted=yes] file:${join(folder, 'archive')} ./\n`)
  writeFileSync(conf, `Dir::State "${folder}/state"; Dir::State::status "${folder}/status"; Dir::Cache "${folder}/cache"; Dir::Etc::sourcelist "${folder}/sources.list"; Dir::Etc::sourceparts "${folder}/empty"; Dir::Etc::preferencesparts "${folder}/empty"; APT::Sandbox::User "root"; ${NAMES_ALONE};\n`)
  const env = { ...process.env, APT_CONFIG: conf, LC_ALL: 'C' }
  expect(await run(['apt-get', 'update'], { env })).toMatchObject({ code: 0 })
  const { stdout } = await run(['apt-get', '--simulate', 'install', literalName(name)], { env })
  return [...stdout.matchAll(/^Inst (\S+)/gm)].map((match) => match[1] ?? '')
}

test.skipIf(findTool('apt-get') === null)('apt takes the names of packages literally: those of none are no patterns and no other names', async () => {
  expect([await installed('tini'), await installed('g++'), await installed('libx++1')]).toEqual([['tini'], ['g++'], ['libx++1']])
  for (const name of ['lib.+', 'libx.', 'tini+', 'g+++', 'libx.1', 'ti+ni']) expect([name, await installed(name)]).toEqual([name, []])
})
