import type { PlannedCheck } from './plan.ts'

/** What detection may look at. `files`: paths of the commit; `read`: text of one of them, or null. */
export interface Tree {
  readonly files: readonly string[]
  read(path: string): string | null
}
export interface Detected { readonly setup: string | null; readonly checks: readonly PlannedCheck[]; readonly packages: readonly string[]; readonly egressAllow: readonly string[] }

/** Files at the root whose text `detectChecks` asks for. */
export const DETECTION_READS = ['package.json', 'Makefile'] as const

/** What `npm init` writes; it always fails and checks nothing. */
const NPM_PLACEHOLDER = /no test specified/

/**
 * The checks of a repository without a `swarm.yml`: what its own manifests name first, then what its test files need.
 * Every ecosystem found contributes; a Makefile's `test` counts only when nothing else was found, since it usually calls the rest.
 */
export function detectChecks(tree: Tree): Detected {
  const has = (path: string) => tree.files.includes(path)
  const checks: PlannedCheck[] = []
  const packages: string[] = []
  const egressAllow: string[] = []
  const setup: string[] = []

  const manifest = packageManifest(tree)
  if (manifest !== null) {
    if (manifest.dependencies) {
      setup.push(has('package-lock.json') || has('npm-shrinkwrap.json') ? 'npm ci' : 'npm install --no-audit --no-fund')
      egressAllow.push('preset:npm')
    }
    if (manifest.scripts.lint !== undefined) checks.push({ name: 'lint', command: 'npm run lint' })
    if (manifest.scripts.test !== undefined && !NPM_PLACEHOLDER.test(manifest.scripts.test)) checks.push({ name: 'test', command: 'npm test' })
  }
  if (!checks.some((check) => check.name === 'test') && tree.files.some(isNodeTest)) checks.push({ name: 'test', command: 'node --test' })

  const python = tree.files.some((path) => /(^|\/)(test_[^/]+|[^/]+_test)\.py$/.test(path))
  if (python) {
    packages.push('python3', 'python3-pytest')
    if (has('requirements.txt')) {
      packages.push('python3-pip')
      setup.push('python3 -m pip install --break-system-packages -r requirements.txt')
      egressAllow.push('preset:pip')
    }
    checks.push({ name: 'pytest', command: 'python3 -m pytest -q' })
  }
  if (has('go.mod')) {
    packages.push('golang-go')
    checks.push({ name: 'go-vet', command: 'go vet ./...' }, { name: 'go-test', command: 'go test ./...' })
  }
  if (has('Cargo.toml')) {
    packages.push('cargo')
    checks.push({ name: 'cargo-test', command: 'cargo test' })
  }
  if (checks.length === 0 && /^(test|check)\s*:(?!=)/m.test(tree.read('Makefile') ?? '')) {
    packages.push('make')
    checks.push({ name: 'test', command: /^test\s*:(?!=)/m.test(tree.read('Makefile') ?? '') ? 'make test' : 'make check' })
  }
  return { setup: setup.length === 0 ? null : setup.join(' && '), checks, packages, egressAllow }
}

/** Names that `node --test` runs without being told. */
function isNodeTest(path: string): boolean {
  if (/(^|\/)node_modules\//.test(path)) return false
  return /(^|\/)(test|[^/]+[.\-_]test|test-[^/]+)\.[cm]?[jt]s$/.test(path) || /(^|\/)test\/.+\.[cm]?[jt]s$/.test(path)
}

function packageManifest(tree: Tree): { scripts: Record<string, string>; dependencies: boolean } | null {
  const text = tree.read('package.json')
  if (text === null) return null
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    // A manifest that does not parse names no checks; the checks that do run will say what is wrong with it.
    if (error instanceof SyntaxError) return null
    throw error
  }
  if (typeof value !== 'object' || value === null) return null
  const record = value as Record<string, unknown>
  const scripts: Record<string, string> = {}
  if (typeof record.scripts === 'object' && record.scripts !== null) {
    for (const [name, command] of Object.entries(record.scripts)) if (typeof command === 'string') scripts[name] = command
  }
  const dependencies = ['dependencies', 'devDependencies', 'optionalDependencies'].some((field) => {
    const listed = record[field]
    return typeof listed === 'object' && listed !== null && Object.keys(listed).length > 0
  }) || 'workspaces' in record
  return { scripts, dependencies }
}
