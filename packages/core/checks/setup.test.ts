import { describe, expect, test } from 'vitest'
import { DEBIAN_PACKAGE, imagePathProblem, NPM_PACKAGE } from './image.ts'
import { setupInputs, SETUP_READS } from './setup.ts'

const inputs = (files: Record<string, string>, command: string, stated?: string[]) => setupInputs({ files: Object.keys(files), read: (path) => (SETUP_READS.matches(path) ? files[path] ?? null : null) }, command, stated)
const REQUIREMENTS = '# tools\n-r requirements-base.txt\n--index-url https://packages.example/simple\nsix==1.17.0 \\\n  --hash=sha256:ab12\nrich[all]>=13,<14 ; python_version < "3.13"  # why\nurllib3 @ https://packages.example/urllib3.whl\n'
const NODE = { 'package.json': '{"scripts":{"test":"x"}}', 'package-lock.json': '{}', 'src/a.js': '' }

describe('what a setup command reads', () => {
  test('are the manifests and lockfiles, at any depth, for an install by a package manager', () => {
    expect(inputs({ ...NODE, 'packages/b/package.json': '{}', 'packages/b/index.js': '', 'node_modules/c/package.json': '{}' }, 'npm ci')).toEqual(['package-lock.json', 'package.json', 'packages/b/package.json'])
    expect(inputs({ 'requirements.txt': 'six==1.17.0\n', 'a.py': '' }, 'python3 -m pip install --break-system-packages -r requirements.txt')).toEqual(['requirements.txt'])
    expect(inputs({ ...NODE, 'deps/requirements.txt': 'six', 'go.mod': '' }, 'npm ci --no-audit && pip3 install -r deps/requirements.txt')).toEqual(['deps/requirements.txt', 'go.mod', 'package-lock.json', 'package.json'])
    expect(inputs({ 'requirements.txt': REQUIREMENTS, 'requirements-base.txt': 'attrs', 'constraints.txt': '' }, 'pip install -q -U -r requirements.txt -cconstraints.txt wheel==0.43')).toHaveLength(3)
  })
  test.each([
    ['uv sync --frozen', { 'pyproject.toml': '[project]\nname = "a"\ndependencies = ["six"]\n[tool.pytest.ini_options]\npythonpath = ["src"]\n', 'uv.lock': '', '.python-version': '3.12', 'src/a.py': '' }, ['.python-version', 'pyproject.toml', 'uv.lock']],
    ['uv sync --no-install-project', { 'pyproject.toml': '[project]\n[build-system]\n', 'uv.lock': '', 'uv.toml': '' }, ['pyproject.toml', 'uv.lock', 'uv.toml']],
    ['poetry install --no-root --only main', { 'pyproject.toml': '[tool.poetry]\n[build-system]\n', 'poetry.lock': '', 'poetry.toml': '' }, ['poetry.lock', 'poetry.toml', 'pyproject.toml']],
    ['poetry install', { 'pyproject.toml': '[tool.poetry]\npackage-mode = false\n', 'poetry.lock': '' }, ['poetry.lock', 'pyproject.toml']],
  ])('are what pyproject.toml and its like say, for %s', (command, files, expected) => { expect(inputs(files, command)).toEqual(expected) })
  test.each([
    ['a command of another kind', NODE, 'make deps'], ['a build behind the install', NODE, 'npm ci && npm run build'], ['signs of the shell', NODE, 'npm ci; rm -rf x'], ['an output elsewhere', NODE, 'npm ci > log'],
    ['a script that npm runs at an install', { ...NODE, 'package.json': '{"scripts":{"prepare":"node build.js"}}' }, 'npm ci'], ['a manifest that cannot be read', { ...NODE, 'package.json': '{' }, 'npm ci'],
    ['a package in the repository', { 'requirements.txt': '-e .\n' }, 'pip install -r requirements.txt'], ['the repository itself', { 'requirements.txt': '' }, 'pip install .'], ['a package by its address', NODE, 'npm install file:./x'],
    ['copies of linked packages', { ...NODE, '.npmrc': 'install-links=true' }, 'npm ci'], ['no manifest at all', { 'a.js': '' }, 'npm ci'],
    ['copies of linked packages by an option', NODE, 'npm ci --install-links'], ['a script that npm runs after it', { ...NODE, 'package.json': '{"scripts":{"dependencies":"node x.js"}}' }, 'npm ci'],
    ['sources that npm compiles when they are there', { ...NODE, 'binding.gyp': '' }, 'npm ci'], ['a hook of pnpm', { ...NODE, '.pnpmfile.cjs': '' }, 'pnpm install'], ['a package.yaml, which pnpm reads', { ...NODE, 'b/package.yaml': '' }, 'pnpm install'],
    ['programs of a workspace, which are linked only if they are there', { ...NODE, 'b/package.json': '{"bin":"cli.js"}' }, 'npm ci'], ['copies of workspaces', { ...NODE, 'pnpm-workspace.yaml': 'injectWorkspacePackages: true' }, 'pnpm install'],
    ...['file:./b', './b', '../b', 'exec:./b.js', 'patch:x@npm:1#./x.patch'].map((need) => [`a package from ${need}`, { ...NODE, 'package.json': JSON.stringify({ dependencies: { x: need } }) }, 'yarn install'] as const),
    ['an override from the repository', { ...NODE, 'package.json': '{"overrides":{"x":{"y":"file:y"}}}' }, 'npm ci'],
    ...['--find-links wheels', '-f wheels', '-fwheels', '--find wheels', 'wheels/six.whl', 'six.whl', 'libs/six', 'six @ file:///x', '--extra-index-url simple', '-r other/list.txt', '-r ../requirements.txt', '-e .', 'six==1 \\\n-f wheels', '.[dev]', '/abs'].map((line) => [`the requirement ${JSON.stringify(line)}`, { 'requirements.txt': `attrs\n${line}\n`, 'other/list.txt': '' }, 'pip install -r requirements.txt'] as const),
    ['such a requirement in a list that another names', { 'requirements.txt': '-r b/requirements.txt', 'b/requirements.txt': '-f wheels' }, 'pip install -r requirements.txt'],
    ...['-f wheels', '--find-links=wheels', '-qf wheels', '--group dev', 'wheels/six.whl', 'six.whl', '-r list.txt'].map((option) => [`pip and ${option}`, { 'requirements.txt': '', 'list.txt': '', 'wheels/six.whl': '', 'six.whl': '' }, `pip install -r requirements.txt ${option}`] as const),
    ...['[build-system]', '[tool.uv]\npackage = true', '[tool.uv.sources]\nx = { path = "x" }', '[tool.uv.workspace]\nmembers = []', '[project]\ndynamic = ["version"]', '[tool.uv]\nfind-links = ["wheels"]', '[[tool.uv.index]]\nurl = "simple"', '[project]\ndependencies = ["x @ file:///x"]'].map((text) => [`uv and ${text.replaceAll('\n', ' ')}`, { 'pyproject.toml': text, 'uv.lock': '' }, 'uv sync'] as const),
    ['uv without its project', { 'uv.lock': '' }, 'uv sync'], ['uv and wheels of the repository', { 'pyproject.toml': '', 'uv.toml': 'find-links = ["wheels"]' }, 'uv sync'], ['uv and a folder of wheels', { 'pyproject.toml': '' }, 'uv sync --find-links wheels'],
    ['poetry, which installs the project itself', { 'pyproject.toml': '[tool.poetry]', 'poetry.lock': '' }, 'poetry install'], ['a package beside the project of poetry', { 'pyproject.toml': 'x = { path = "x", develop = true }' }, 'poetry install --no-root'],
    ['a Gemfile, which is a program', { 'Gemfile': 'gemspec' }, 'bundle install'], ['composer, which scans sources', { 'composer.json': '{}' }, 'composer install'], ['cargo', { 'Cargo.toml': '' }, 'cargo fetch'],
  ] as [string, Record<string, string>, string][])('is not known with %s', (_title, files, command) => {
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
  test('a Debian package has a name by the policy that asks for no removal', () => {
    for (const good of ['g++', 'libstdc++6', 'python3.11', '0ad', 'x11-utils', 'jq']) expect(good).toMatch(DEBIAN_PACKAGE)
    for (const bad of ['tini-', 'a', 'Tini', '+a', '.a', 'a/stable', 'a=1', 'a:amd64', 'a*', '?essential', '~n', '^lib', 'lib$', 'a b', 'a,b', './a']) expect(bad).not.toMatch(DEBIAN_PACKAGE)
  })
  test('an npm package has one exact version, or none', () => {
    for (const good of ['typescript', 'npm-run-all', 'typescript@5.6.3', '@scope/name@1.0.0-rc.1', 'a.b_c']) expect(good).toMatch(NPM_PACKAGE)
    for (const bad of ['typescript@^5', 'typescript@latest', 'typescript@5', '-g', '~x', '../x', 'a b', 'file:x', 'https://x', '@a', '@/b@1.0.0', 'a@1.0.0;rm', 'npm', 'npm@9.0.0']) expect(bad).not.toMatch(NPM_PACKAGE)
  })
})
