import { createServer, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeDesk, script, SHOP, SPEC, type Desk } from './testing.ts'

let desk: Desk
beforeAll(async () => {
  desk = makeDesk()
  desk.write('spec.md', SPEC)
  desk.write('empty.md', ' \n')
  desk.write('vague.md', '# Vague\n\nSomething nice.\n')
  desk.write('open.md', '# Open\n\n```\n- R1 never closed\n')
  desk.write('script.yml', script())
  desk.write('bad.yml', 'version: 1\nscenes:\n  - role: designer\n    turns: [{ sya: hello }]\n')
  desk.write('plain/file.txt', 'x')
  await desk.repository('bare-start', {})
  await desk.repository('shop', SHOP)
  await desk.repository('dirty', SHOP)
  desk.write('dirty/package.json', '{}\n')
})
afterAll(async () => { await desk[Symbol.asyncDispose]() })

test.each([
  ['an empty spec', ['--spec', 'empty.md', '--repo', 'shop'], 'spec_empty', 2, /Write Markdown/],
  ['a spec without requirements', ['--spec', 'vague.md', '--repo', 'shop'], 'spec_without_requirements', 2, /## Requirements/],
  ['a malformed spec', ['--spec', 'open.md', '--repo', 'shop'], 'spec_unclosed_block', 2, /line 3 .*Close it/],
  ['a spec that is not there', ['--spec', 'nowhere.md', '--repo', 'shop'], 'file_unreadable', 2, /nowhere\.md does not exist/],
  ['a repository without commits', ['--spec', 'spec.md', '--repo', 'bare-start'], 'repository_without_commits', 2, /git commit --allow-empty/],
  ['a path that is not a git repository', ['--spec', 'spec.md', '--repo', 'plain'], 'not_a_repository', 2, /git init/],
  ['a path that is a file', ['--spec', 'spec.md', '--repo', 'spec.md'], 'not_a_repository', 2, /Give the folder/],
  ['a folder inside of a repository', ['--spec', 'spec.md', '--repo', 'shop/test'], 'not_a_repository', 2, /Give its root/],
  ['a path where nothing is', ['--spec', 'spec.md', '--repo', 'nowhere'], 'origin_missing', 2, /--new NAME/],
  ['a dirty work tree', ['--spec', 'spec.md', '--repo', 'dirty'], 'repository_dirty', 2, /package\.json.*Commit or stash/],
  ['no key and no script', ['--spec', 'spec.md', '--repo', 'shop'], 'model_not_configured', 3, /ANTHROPIC_API_KEY.*--rehearsal FILE/],
  ['a script that cannot be played', ['--spec', 'spec.md', '--repo', 'shop', '--rehearsal', 'bad.yml'], 'rehearsal_script_invalid', 2, /line 4.*sya.*docs\/rehearsal\.md/],
  ['a script that is not there', ['--spec', 'spec.md', '--repo', 'shop', '--rehearsal', 'no.yml'], 'file_unreadable', 2, /rehearsal script .*no\.yml does not exist/],
  ['neither a repository nor a new one', ['--spec', 'spec.md'], 'misuse', 2, /--repo .*--new/],
  ['a ceiling that is no number', ['--spec', 'spec.md', '--repo', 'shop', '--max-cost', 'much'], 'misuse', 2, /--max-cost is not right/],
])('swarm run with %s says so in one paragraph, with what to do and an exit code', async (_, args, code, exitCode, words) => {
  const ran = await desk.swarm(['run', ...args, '--json'])
  expect(ran.json).toMatchObject({ error: { code } })
  expect(ran.code).toBe(exitCode)
  const paragraph = ran.stderr.trimEnd().split('\n').at(-1) ?? ''
  expect(paragraph).toMatch(words)
  expect(paragraph).toMatch(new RegExp(`^swarm: .*\\[${code}\\]$`))
  expect(ran.stderr).not.toMatch(/\n\s+at /)
})

test('with a key and nobody there to agree, no money is spent', async () => {
  const ran = await desk.swarm(['run', '--spec', 'spec.md', '--repo', 'shop', '--json'], { ANTHROPIC_API_KEY: 'sk-ant-none' })
  expect(ran).toMatchObject({ code: 2, json: { error: { code: 'cost_not_confirmed', message: expect.stringContaining('$5.00') as string } } })
})

test('a port in use is said with how to take another', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const { port } = other.address() as AddressInfo
  const ran = await desk.swarm(['up', '--port', String(port), '--json'])
  other.close()
  expect(ran).toMatchObject({ code: 3, json: { error: { code: 'port_in_use', message: `Port ${port} of 127.0.0.1 is in use.`, remedy: expect.stringContaining('SWARM_PORT') as string } } })
})

test('a wrong setting names itself and where it was set', async () => {
  const ran = await desk.swarm(['config', 'show', '--json'], { SWARM_PORT: 'eighty' })
  expect(ran).toMatchObject({ code: 3, json: { error: { code: 'config_invalid', remedy: expect.stringContaining('SWARM_PORT') as string } } })
})

test('a command that needs the platform says how to start it', async () => {
  const ran = await desk.swarm(['ticket', 'list', '--json'])
  expect(ran).toMatchObject({ code: 3, json: { error: { code: 'not_running', remedy: expect.stringContaining('swarm start') as string } } })
})

test('none of these left a platform or a session behind', () => {
  expect(existsSync(join(desk.home, 'run', 'server.json'))).toBe(false)
})

test('the gate is a command for any repository: 0 clean, 1 with errors, 2 for a wrong revision', async () => {
  const path = await desk.repository('judged', { 'a.js': Array.from({ length: 60 }, (_, line) => `export const value${line} = ${line} * 2`).join('\n') })
  const { git } = await import('@swarm/git/run.ts')
  const commit = async (message: string): Promise<void> => {
    await git(path, ['add', '--all'])
    await git(path, ['-c', 'user.name=T', '-c', 'user.email=t@example.org', 'commit', '--quiet', '--message', message])
  }
  desk.write('judged/b.js', 'export const b = 1\n')
  await commit('Add b')
  expect(await desk.swarm(['gate', '--repo', 'judged', '--base', 'HEAD~1', '--head', 'HEAD', '--json'])).toMatchObject({ code: 0, json: { clean: true, findings: [] } })
  expect(await desk.swarm(['gate', '--repo', 'judged', '--base', 'HEAD~1', '--head', 'HEAD', '--scope', 'docs/**', '--json'])).toMatchObject({ code: 1, json: { clean: false, findings: [{ code: 'out_of_scope', path: 'b.js' }] } })
  expect(await desk.swarm(['gate', '--repo', 'judged', '--base', 'nothing', '--head', 'HEAD', '--json'])).toMatchObject({ code: 2, json: { error: { code: 'unknown_revision' } } })
})
