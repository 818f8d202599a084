// A small project in a folder of its own, for tests that plant a violation and want to see its rule fire.
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const project = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
const SETTINGS = ['package.json', 'tsconfig.json', '.oxlintrc.json', 'knip.json']

/**
 * @param {Record<string, string>} files path → text; they stand beside one innocent file in each package
 * @returns {{ root: string, [Symbol.dispose](): void }} a project with the real settings and packages linked as npm links them
 */
export function plantProject(files) {
  const root = mkdtempSync(join(tmpdir(), 'planted-'))
  for (const name of SETTINGS) cpSync(join(project, name), join(root, name))
  const modules = join(root, 'node_modules')
  mkdirSync(join(modules, '@swarm'), { recursive: true })
  for (const name of readdirSync(join(project, 'node_modules'))) {
    if (name !== '@swarm') symlinkSync(join(project, 'node_modules', name), join(modules, name))
  }
  for (const name of ['core', 'contract', 'git', 'server', 'runner', 'guest', 'cli', 'testkit']) {
    const folder = join(root, 'packages', name)
    mkdirSync(folder, { recursive: true })
    cpSync(join(project, 'packages', name, 'package.json'), join(folder, 'package.json'))
    writeFileSync(join(folder, 'innocent.ts'), `export const ${name} = 1\n`)
    symlinkSync(folder, join(modules, '@swarm', name))
  }
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  return { root, [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }) }
}

/**
 * Runs one step of the gate on a planted project, as `npm run check` runs it on this one.
 * @param {string} root
 * @param {string[]} argv what follows `node`
 * @returns {Promise<{ code: number, output: string }>}
 */
export function runStep(root, argv) {
  return new Promise((resolve) => {
    execFile(process.execPath, argv, { cwd: root, env: { ...process.env, NO_COLOR: '1' } }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, output: `${stdout}${stderr}` })
    })
  })
}
