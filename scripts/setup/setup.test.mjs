import { execFile } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { installCommand, missingOf, packagesFor } from './distribution.mjs'
import { lockCheckout } from './lock.mjs'
import { whyStale } from './modules.mjs'

const project = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
let root

beforeEach(() => { root = mkdtempSync(join(tmpdir(), 'setup-')) })
afterEach(() => rmSync(root, { recursive: true, force: true }))

function run(argv, options = {}) {
  return new Promise((resolve) => {
    execFile(argv[0], argv.slice(1), options, (error, stdout, stderr) => resolve({ code: error ? Number(error.code) : 0, stdout, stderr }))
  })
}

describe('npm packages', () => {
  const write = (path, packages) => {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), JSON.stringify({ packages }))
  }
  const locked = { '': {}, 'packages/core': {}, 'node_modules/a': { version: '1.0.0', integrity: 'x' }, 'node_modules/for-another-system': { version: '1.0.0', optional: true } }

  test('what npm installed from this lockfile is current; packages of other systems may be absent', () => {
    write('package-lock.json', locked)
    write('node_modules/.package-lock.json', { 'node_modules/a': { version: '1.0.0', integrity: 'x' } })
    expect(whyStale(root)).toBeUndefined()
  })

  test('nothing installed, an interrupted installation, a missing package and another version are stale', () => {
    write('package-lock.json', locked)
    expect(whyStale(root)).toBe('nothing is installed yet')
    // npm writes its record last: without it the installation was cut off.
    mkdirSync(join(root, 'node_modules', 'a'), { recursive: true })
    expect(whyStale(root)).toBe('nothing is installed yet')
    write('node_modules/.package-lock.json', {})
    expect(whyStale(root)).toBe('node_modules/a is missing')
    write('node_modules/.package-lock.json', { 'node_modules/a': { version: '1.0.0', integrity: 'y' } })
    expect(whyStale(root)).toBe('node_modules/a is another version')
  })
})

describe('two set-ups at once', () => {
  test('the second waits until the first is done', async () => {
    const release = await lockCheckout(root, () => undefined)
    const order = []
    const waiting = new Promise((resolve) => {
      const second = lockCheckout(root, () => { order.push('waits'); resolve() })
      order.push(second.then(async (done) => { order.push('second'); await done() }))
    })
    await waiting
    const second = order.find((entry) => entry instanceof Promise)
    order.push('first done')
    await release()
    await second
    expect(order.filter((entry) => typeof entry === 'string')).toEqual(['waits', 'first done', 'second'])
  })

  test('a lock ends with the process that held it, however that ends', async () => {
    const holder = join(root, 'holder.mjs')
    writeFileSync(holder, `import { lockCheckout } from ${JSON.stringify(join(project, 'scripts/setup/lock.mjs'))}\nawait lockCheckout(${JSON.stringify(root)}, () => undefined)\nprocess.kill(process.pid, 'SIGKILL')\n`)
    await run([process.execPath, holder])
    let waited = false
    const release = await lockCheckout(root, () => { waited = true })
    await release()
    expect(waited).toBe(false)
  })
})

describe('distribution packages', () => {
  test('tests need all that the demo needs, and a database besides', () => {
    const names = (purpose) => packagesFor(purpose).map(({ name }) => name)
    expect(names('test')).toEqual([...names('demo'), 'postgresql'])
  })

  test('what is missing is told from what is there, and named in one command', () => {
    const there = { name: 'there', command: 'sh', for: 'x' }
    const absent = [{ name: 'absent-command', command: 'no-such-command-anywhere', for: 'x' }, { name: 'absent-file', file: '/no/such/file', for: 'x' }, { name: 'absent-version', glob: '/usr/lib/no-such-folder/*/bin/x', for: 'x' }]
    const missing = missingOf([there, ...absent])
    expect(missing).toEqual(absent)
    expect(installCommand(missing)).toBe('sudo apt-get update && sudo apt-get install -y --no-install-recommends absent-command absent-file absent-version')
  })
})

test('a wrong purpose is answered with the usage', async () => {
  const { code, stderr } = await run([process.execPath, join(project, 'scripts', 'setup.mjs'), '--for', 'fun'])
  expect(stderr).toContain('usage: node scripts/setup.mjs [--for cli|check|demo|test]')
  expect(code).toBe(1)
})

describe('./swarm', () => {
  // A checkout whose command line only tells what reached it.
  beforeEach(() => {
    for (const name of ['swarm', 'bin']) cpSync(join(project, name), join(root, name), { recursive: true })
    writeFileSync(join(root, 'package-lock.json'), '{}')
    mkdirSync(join(root, 'node_modules'))
    for (const name of readdirSync(join(project, 'node_modules'))) symlinkSync(join(project, 'node_modules', name), join(root, 'node_modules', name))
    rmSync(join(root, 'node_modules', '.swarm-setup'), { force: true }) // the link to this checkout's
    writeFileSync(join(root, 'node_modules', '.swarm-setup'), 'x\n')
    mkdirSync(join(root, 'packages', 'cli'), { recursive: true })
    writeFileSync(join(root, 'packages', 'cli', 'main.ts'), `
      const told: unknown = { args: process.argv.slice(2), caller: process.env['SWARM_CALLER_CWD'], node: process.versions.node.split('.')[0] }
      if (process.argv.includes('--wait')) { process.on('SIGTERM', () => process.exit(7)); setInterval(() => undefined, 1000) }
      if (process.argv.includes('--fail')) process.exitCode = 5
      console.log(JSON.stringify(told))
    `)
    mkdirSync(join(root, 'elsewhere'))
  })

  test('works through a symlink from another folder, and hands on arguments, that folder and the exit code', async () => {
    const link = join(root, 'elsewhere', 'link to swarm')
    symlinkSync('../swarm', link)
    const { code, stdout } = await run([link, 'run', '--spec', 'a file.md', '--fail'], { cwd: join(root, 'elsewhere') })
    expect(JSON.parse(stdout)).toEqual({ args: ['run', '--spec', 'a file.md', '--fail'], caller: join(root, 'elsewhere'), node: '24' })
    expect(code).toBe(5)
  })

  test('under an npm script of this package, paths are those of the folder that npm was called from', async () => {
    const env = { ...process.env, INIT_CWD: '/usr', npm_package_json: join(root, 'package.json') }
    const { stdout } = await run([join(root, 'swarm'), 'x'], { cwd: root, env })
    expect(JSON.parse(stdout).caller).toBe('/usr')
  })

  test('on an older Node it hands over to the pinned one, with signals and the exit code', async () => {
    // An older Node as far as the launcher can see: it reads nothing but the version.
    const older = join(root, 'older.mjs')
    writeFileSync(older, `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.1.0' } })\nprocess.argv.splice(1, 1)\nawait import(${JSON.stringify(join(root, 'bin', 'swarm.mjs'))})\n`)
    const result = await new Promise((resolve) => {
      const child = execFile(process.execPath, [older, join(root, 'bin', 'swarm.mjs'), '--wait'], (error, stdout) => resolve({ code: error?.code, stdout }))
      child.stdout.once('data', () => child.kill('SIGTERM'))
    })
    expect(JSON.parse(result.stdout).args).toEqual(['--wait'])
    expect(result.code).toBe(7)
  })

  test('without Node 24 it says what to do', async () => {
    rmSync(join(root, 'node_modules'), { recursive: true })
    const older = join(root, 'older.mjs')
    writeFileSync(older, `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.1.0' } })\nawait import(${JSON.stringify(join(root, 'bin', 'swarm.mjs'))})\n`)
    const { code, stderr } = await run([process.execPath, older])
    expect(stderr).toContain(`Run "npm ci" in ${root}`)
    expect(code).toBe(1)
  })

  test('without Node or npm it names what to install first', async () => {
    rmSync(join(root, 'node_modules'), { recursive: true })
    const tools = join(root, 'tools')
    mkdirSync(tools)
    for (const tool of ['readlink', 'dirname']) symlinkSync(`/usr/bin/${tool}`, join(tools, tool))
    chmodSync(join(root, 'swarm'), 0o755)
    const { code, stderr } = await run(['/bin/sh', join(root, 'swarm')], { env: { PATH: tools } })
    expect(stderr).toContain('install Node 20 or newer and npm first')
    expect(code).toBe(1)
  })
})
