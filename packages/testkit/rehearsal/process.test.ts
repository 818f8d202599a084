import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { readScript } from './script.ts'

const program = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
const run = async (name: string, ...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> => {
  try {
    return { code: 0, ...await promisify(execFile)(process.execPath, [program(name), ...args]) }
  } catch (error) {
    const failed = error as { code: number; stdout: string; stderr: string }
    return { code: failed.code, stdout: failed.stdout, stderr: failed.stderr }
  }
}

let folder: string
beforeAll(async () => { folder = await mkdtemp(join(tmpdir(), 'rehearsal-process-')) })
afterAll(async () => { await rm(folder, { recursive: true }) })

it('a starter script is written for a spec, is not overwritten, and can be served at once', async () => {
  const spec = join(folder, 'spec.md')
  const script = join(folder, 'play.yaml')
  await writeFile(spec, '# Counter\n## Counting\n- R1 It counts up.\n')
  expect(await run('init.ts', spec, '--out', script)).toMatchObject({ code: 0 })
  expect((await readScript(script)).scenes).toHaveLength(4)
  await writeFile(script, `${await readFile(script, 'utf8')}# mine\n`)
  expect(await run('init.ts', spec, '--out', script)).toMatchObject({ code: 1, stderr: expect.stringMatching(/exists already.*--force/) })
  expect(await readFile(script, 'utf8')).toMatch(/# mine/)

  const server = spawn(process.execPath, [program('main.ts'), '--script', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  try {
    const [line] = await once(createInterface({ input: server.stdout }), 'line') as [string]
    const { ready, url } = JSON.parse(line) as { ready: boolean; url: string }
    expect(ready).toBe(true)
    expect(await (await fetch(`${url}/rehearsal/status`)).json()).toMatchObject({ served: 0, unmet: [], unmatched: [] })
  } finally {
    const exited = once(server, 'exit')
    server.kill('SIGTERM')
    expect(await exited).toEqual([0, null])
  }
})

it('misuse, a missing or empty spec and a bad script end with an error that says what to do', async () => {
  await writeFile(join(folder, 'empty.md'), ' \n')
  await writeFile(join(folder, 'bad.yaml'), 'version: 2\nscenes: []\n')
  expect(await run('init.ts')).toMatchObject({ code: 2, stderr: expect.stringContaining('usage:') })
  expect(await run('init.ts', join(folder, 'none.md'))).toMatchObject({ code: 1, stderr: expect.stringContaining('Give the path of a Markdown file') })
  expect(await run('init.ts', join(folder, 'empty.md'))).toMatchObject({ code: 1, stderr: expect.stringMatching(/empty\.md cannot be used: .+\n.+/) })
  expect(await run('main.ts', '--script', join(folder, 'bad.yaml'))).toMatchObject({ code: 1, stderr: expect.stringMatching(/line 1, version:[\s\S]*line 2, scenes:[\s\S]*docs\/rehearsal\.md/) })
  expect(await run('main.ts')).toMatchObject({ code: 2, stderr: expect.stringContaining('usage:') })
}, 20_000)
