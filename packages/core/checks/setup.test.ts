import { describe, expect, test } from 'vitest'
import { imagePathProblem, NPM_PACKAGE } from './image.ts'
import { setupInputs } from './setup.ts'

const inputs = (files: Record<string, string>, command: string, stated?: string[]) => setupInputs({ files: Object.keys(files), read: (path) => files[path] ?? null }, command, stated)
const NODE = { 'package.json': '{"scripts":{"test":"x"}}', 'package-lock.json': '{}', 'src/a.js': '' }

describe('what a setup command reads', () => {
  test('are the manifests and lockfiles, at any depth, for an install by a package manager', () => {
    expect(inputs({ ...NODE, 'packages/b/package.json': '{}', 'packages/b/index.js': '', 'node_modules/c/package.json': '{}' }, 'npm ci')).toEqual(['package-lock.json', 'package.json', 'packages/b/package.json'])
    expect(inputs({ 'requirements.txt': 'six==1.17.0\n', 'a.py': '' }, 'python3 -m pip install --break-system-packages -r requirements.txt')).toEqual(['requirements.txt'])
    expect(inputs({ ...NODE, 'deps/list.txt': 'six', 'go.mod': '' }, 'npm ci --no-audit && pip3 install -r deps/list.txt')).toEqual(['deps/list.txt', 'go.mod', 'package-lock.json', 'package.json'])
  })
  test.each([
    ['a command of another kind', NODE, 'make deps'], ['a build behind the install', NODE, 'npm ci && npm run build'], ['signs of the shell', NODE, 'npm ci; rm -rf x'], ['an output elsewhere', NODE, 'npm ci > log'],
    ['a script that npm runs at an install', { ...NODE, 'package.json': '{"scripts":{"prepare":"node build.js"}}' }, 'npm ci'], ['a manifest that cannot be read', { ...NODE, 'package.json': '{' }, 'npm ci'],
    ['a package in the repository', { 'requirements.txt': '-e .\n' }, 'pip install -r requirements.txt'], ['the repository itself', { 'requirements.txt': '' }, 'pip install .'], ['a package by its address', NODE, 'npm install file:./x'],
    ['copies of linked packages', { ...NODE, '.npmrc': 'install-links=true' }, 'npm ci'], ['no manifest at all', { 'a.js': '' }, 'npm ci'],
  ])('is not known with %s', (_title, files, command) => {
    expect(inputs(files, command)).toBeNull()
  })
  test('is what swarm.yml states, beside the manifests, whatever the command', () => {
    expect(inputs({ ...NODE, 'tools/setup.sh': '' }, './tools/setup.sh', ['tools/**'])).toEqual(['package-lock.json', 'package.json', 'tools/setup.sh'])
    expect(inputs({ ...NODE, 'package.json': '{"scripts":{"prepare":"husky"}}' }, 'npm ci', [])).toEqual(['package-lock.json', 'package.json'])
  })
})

describe('what an image may be given', () => {
  test.each(['/etc/app.conf', '/usr/local/bin/tool', '/opt/thing/a b', '/opt/swarming/x'])('a file may lie at %s', (path) => { expect(imagePathProblem(path)).toBeNull() })
  test.each(['etc/x', '/etc/../proc/x', '/etc//x', '/etc/', '/', '/proc/x', '/work/repository/x', '/root/.npmrc', '/tmp/x', '/opt/swarm/agent.mjs', '/etc/x\n', '/etc/./x'])('a file may not lie at %j', (path) => { expect(imagePathProblem(path)).not.toBeNull() })
  test('an npm package has one exact version, or none', () => {
    for (const good of ['typescript', 'typescript@5.6.3', '@scope/name@1.0.0-rc.1', 'a.b_c']) expect(good).toMatch(NPM_PACKAGE)
    for (const bad of ['typescript@^5', 'typescript@latest', 'typescript@5', '-g', '~x', '../x', 'a b', 'file:x', 'https://x', '@a', '@/b@1.0.0', 'a@1.0.0;rm']) expect(bad).not.toMatch(NPM_PACKAGE)
  })
})
