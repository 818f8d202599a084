import { compileGlobs } from '../output/globs.ts'
import type { Tree } from './detect.ts'

/** Files by which the package managers of the common languages decide what they install, wherever they lie. */
const MANIFESTS = /(^|\/)(package\.json|package-lock\.json|npm-shrinkwrap\.json|\.npmrc|yarn\.lock|\.yarnrc(\.yml)?|pnpm-lock\.yaml|pnpm-workspace\.yaml|\.nvmrc|requirements[^/]*\.(txt|in)|constraints[^/]*\.txt|poetry\.lock|uv\.lock|Pipfile(\.lock)?|go\.(mod|sum|work|work\.sum)|Gemfile(\.lock)?|composer\.(json|lock))$/

/** A command that installs what manifests name and does nothing else; words of a plain shell command, without any of its signs. */
const INSTALLER = /^(npm (ci|install|i)|yarn( install)?|pnpm (install|i)|(python3? -m )?pip3? install|poetry install|uv sync|go mod download|bundle install|composer install)( [\w@.=/:+-]+)*$/

/** Scripts of a package.json that npm runs at an install: they may read anything. */
const LIFECYCLE = ['preinstall', 'install', 'postinstall', 'prepublish', 'preprepare', 'prepare', 'postprepare']

/** Manifests whose text is looked at, at most; a repository with more states what its setup reads. */
export const SETUP_READS = { most: 40, matches: (path: string): boolean => READ.test(path) && !INSTALLED.test(path) }
const READ = /(^|\/)(package\.json|\.npmrc|requirements[^/]*\.(txt|in))$/
const INSTALLED = /(^|\/)node_modules\//
const MOST_INPUTS = 500

/**
 * The files that a setup command reads, so that its result is theirs alone; null when that is not known. Known is an install by a package
 * manager, without scripts of the repository's own and without packages that lie in the repository; or what swarm.yml states.
 * @param stated globs of `setup.inputs`, beside which the manifests count too
 */
export function setupInputs(tree: Tree, command: string, stated: readonly string[] | undefined): string[] | null {
  const ours = tree.files.filter((path) => !INSTALLED.test(path))
  const manifests = ours.filter((path) => MANIFESTS.test(path))
  const more = stated === undefined ? namedBy(tree, command) : ours.filter((path) => compileGlobs(stated).matches(path))
  const inputs = [...new Set([...manifests, ...more])].sort()
  if (inputs.length === 0 || inputs.length > MOST_INPUTS) return null
  if (stated !== undefined) return inputs
  const parts = command.split('&&').map((part) => part.trim())
  if (!parts.every((part) => INSTALLER.test(part))) return null
  // `pip install .` and the like build what lies there.
  if (parts.some((part) => /(^| )(-e|--editable|\.{1,2}(\/\S*)?|\S*:\S*)( |$)/.test(part))) return null
  const read = inputs.filter(SETUP_READS.matches)
  if (read.length > SETUP_READS.most || read.some((path) => reachesFurther(path, tree.read(path) ?? ''))) return null
  return inputs
}

/** Words of the command that are files of the repository. */
function namedBy(tree: Tree, command: string): string[] {
  const words = new Set(command.split(/[\s=]+/).map((word) => word.replace(/^\.\//, '')))
  return tree.files.filter((path) => words.has(path))
}

/** Whether an install by this manifest may read files that are no manifests. */
function reachesFurther(path: string, text: string): boolean {
  if (path.endsWith('.npmrc')) return /install-links|script-shell|node-options/i.test(text)
  if (!path.endsWith('package.json')) return /^\s*(-e|--editable|\.|\/|file:)|@\s*file:/m.test(text)
  let manifest: unknown
  try {
    manifest = JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return true
    throw error
  }
  const scripts = typeof manifest === 'object' && manifest !== null && 'scripts' in manifest ? manifest.scripts : null
  return typeof scripts === 'object' && scripts !== null && LIFECYCLE.some((name) => name in scripts)
}
