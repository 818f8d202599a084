import { once } from 'node:events'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { commands } from './commands.ts'
import { processesThatName } from './platform/processes.ts'
import { makeDesk, saying, type Desk } from './testing.ts'

/** Processes of a home: each has it in its environment. */
function processesOf(home: string): string[] {
  return processesThatName('').filter(({ pid }) => {
    try {
      return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(`SWARM_HOME=${home}`)
    } catch {
      return false
    }
  }).map(({ command }) => command)
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (const end = performance.now() + 40_000; !condition();) {
    if (performance.now() > end) throw new Error(`it did not happen in 40 s: ${what}`)
    await delay(50)
  }
}

test('Ctrl-C stops the whole tree, and the home is free again', { timeout: 120_000 }, async () => {
  await using desk = makeDesk()
  const child = desk.spawn(['up', '--port', '0'])
  await saying(child, /Swarm runs at http/)
  expect(processesOf(desk.home).some((command) => command.includes('packages/runner/main.ts'))).toBe(true)
  expect(statSync(join(desk.home, 'runner', 'local', 'token')).mode & 0o777).toBe(0o600)
  child.kill('SIGINT')
  expect(await once(child, 'close')).toEqual([0, null])
  expect(processesOf(desk.home)).toEqual([])
  expect(existsSync(join(desk.home, 'run', 'server.json'))).toBe(false)
})

test('when the command is killed for good, everything that it started ends too, and the next start works', { timeout: 180_000 }, async () => {
  await using desk = makeDesk()
  const child = desk.spawn(['up', '--port', '0'])
  await saying(child, /Swarm runs at http/)
  child.kill('SIGKILL')
  await once(child, 'close')
  await until(() => processesOf(desk.home).length === 0, `processes are left: ${processesOf(desk.home).join(', ')}`)
  // Its run file is of a process that has ended.
  expect(existsSync(join(desk.home, 'run', 'server.json'))).toBe(true)
  expect(await desk.swarm(['status', '--json'])).toMatchObject({ code: 3, json: { running: false } })
  expect(await desk.swarm(['start', '--port', '0', '--json'])).toMatchObject({ code: 0 })
})

test('a run file of another process with the same pid is not believed', async () => {
  await using desk = makeDesk()
  await desk.swarm(['config', 'show'])
  desk.write('home/run/server.json', JSON.stringify({ pid: process.pid, startTicks: 1, url: 'http://127.0.0.1:1', model: 'auto', startedAt: 0 }))
  expect(await desk.swarm(['stop', '--json'])).toMatchObject({ code: 0, json: { stopped: false } })
})

let desk: Desk
beforeAll(async () => {
  desk = makeDesk()
  expect(await desk.swarm(['start', '--port', '0', '--no-runner', '--json'])).toMatchObject({ code: 0, json: { url: expect.stringMatching(/^http:/) as string } })
}, 120_000)
afterAll(async () => { await desk[Symbol.asyncDispose]() })

test('a second platform on the same home is refused', async () => {
  expect(await desk.swarm(['up', '--port', '0', '--json'])).toMatchObject({ code: 3, json: { error: { code: 'already_running', remedy: expect.stringContaining('swarm stop') as string } } })
  expect(await desk.swarm(['start', '--json'])).toMatchObject({ code: 3, json: { error: { code: 'already_running' } } })
})

test.each([
  ['status'], ['session list'], ['ticket list'], ['approval list'], ['question list'], ['change list'], ['project list'], ['repository list'], ['agent list'], ['agent show developer'],
  ['vm list'], ['runner list'], ['image list'], ['image prune --dry-run'], ['config show'], ['retention run --dry-run'], ['retention run'], ['logs'], ['logs platform'],
])('swarm %s --json ends with one object, and without --json with text for people', { timeout: 60_000 }, async (line) => {
  const [json, text] = await Promise.all([desk.swarm([...line.split(' '), '--json']), desk.swarm(line.split(' '))])
  expect(json).toMatchObject({ code: 0, json: expect.not.objectContaining({ error: expect.anything() as unknown }) as object })
  expect(text.code).toBe(0)
})

/** What a command needs besides an id. */
const WORDS: Readonly<Record<string, readonly string[]>> = {
  'question answer': ['yes'], 'session answer': ['yes'], 'session edit': ['--spec', 'SPEC.md'], 'ticket edit': ['--priority', '5'], 'vm exec': ['--', 'true'], 'change comment': ['--reply', 'CMT-7Q2M9XKD', 'x'], 'change resolve': ['CMT-7Q2M9XKD'], 'change review': ['comment'],
}
/** Of these the id is a name that the caller gives, or they are about an account, which an admin token has none of. */
const OTHERWISE = new Set(['policy set', 'policy show', 'policy remove', 'policy try', 'key rotate', 'key revoke'])
test.each(commands.filter(({ name, arguments: given }) => given?.[0]?.name === 'id' && !OTHERWISE.has(name)).map(({ name }) => [name]))('swarm %s of something that does not exist is answered with not_found', { timeout: 60_000 }, async (name) => {
  const command = commands.find((each) => each.name === name)!
  const options = command.options?.some(({ flags }) => flags.startsWith('--reason')) ? ['--reason', 'x'] : name === 'change evidence' ? ['--out', 'nowhere.json'] : []
  desk.write('SPEC.md', '# Shop\n\n## Requirements\n- R1 It sells.\n')
  const ran = await desk.swarm([...name.split(' '), 'XXX-7Q2M9XKD', ...WORDS[name] ?? [], ...options, '--json'])
  expect(ran).toMatchObject({ code: 2, json: { error: { code: 'not_found', message: expect.stringContaining('XXX-7Q2M9XKD') as string } } })
})

test('an unknown agent is named, with how to see those that exist', async () => {
  expect(await desk.swarm(['agent', 'show', 'nobody', '--json'])).toMatchObject({ code: 2, json: { error: { code: 'not_found', message: 'There is no agent nobody.', remedy: 'List what exists with "swarm agent list".' } } })
})

test('an agent is shown as a file, edited from it, and the edit is a new version', { timeout: 60_000 }, async () => {
  const shown = await desk.swarm(['agent', 'show', 'developer'])
  writeFileSync(join(desk.folder, 'developer.yml'), shown.stdout.replace('contextTokens: 120000', 'contextTokens: 60000'))
  expect(await desk.swarm(['agent', 'edit', 'developer', '--file', 'developer.yml', '--json'])).toMatchObject({ code: 0, json: { version: 2, definition: { config: { contextTokens: 60_000 } } } })
  expect(await desk.swarm(['agent', 'edit', 'developer', '--file', 'developer.yml', '--from', '1', '--json'])).toMatchObject({ code: 2, json: { error: { code: 'version_conflict' } } })
  desk.write('shell.yml', 'config: { template: shell, commands: [] }\n')
  expect(await desk.swarm(['agent', 'create', 'runner', '--file', 'shell.yml', '--json'])).toMatchObject({ code: 2, json: { error: { code: 'agent_definition_invalid', message: expect.stringContaining('config.commands') as string } } })
  desk.write('shell.yml', 'config: { template: shell, commands: [make] }\n')
  expect(await desk.swarm(['agent', 'create', 'runner', '--file', 'shell.yml', '--json'])).toMatchObject({ code: 0, json: { name: 'runner', version: 1 } })
})

test('uninstall does nothing to a home that is in use, and nothing unasked', async () => {
  expect(await desk.swarm(['uninstall', '--data', '--yes', '--json'])).toMatchObject({ code: 2, json: { error: { code: 'already_running' } } })
  expect(existsSync(join(desk.home, 'swarm.sqlite'))).toBe(true)
})
