import { compileGlobs } from '../output/globs.ts'
import type { Tree } from './detect.ts'
import { SETUP_TOOLS } from './setup-tools.ts'

/** Files by which the package managers of the common languages decide what they install, wherever they lie. */
const MANIFESTS = /(^|\/)(package\.json|package-lock\.json|npm-shrinkwrap\.json|\.npmrc|yarn\.lock|\.yarnrc(\.yml)?|pnpm-lock\.yaml|pnpm-workspace\.yaml|\.nvmrc|\.(node|python|ruby|tool)-versions?|requirements[^/]*\.(txt|in)|constraints[^/]*\.txt|pyproject\.toml|poetry\.(lock|toml)|uv\.(lock|toml)|Pipfile(\.lock)?|go\.(mod|sum|work|work\.sum)|Gemfile(\.lock)?|\.bundle\/config|composer\.(json|lock))$/

/** Manifests whose text is looked at, at most; a repository with more states what its setup reads. */
export const SETUP_READS = { most: 40, matches: (path: string): boolean => READ.test(path) && !INSTALLED.test(path) }
const READ = /(^|\/)(package\.json|\.npmrc|pnpm-workspace\.yaml|(requirements|constraints)[^/]*\.(txt|in)|pyproject\.toml|uv\.toml)$/
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
  if (inputs.filter(SETUP_READS.matches).length > SETUP_READS.most) return null
  return command.split('&&').every((part) => isKnown(part.trim(), { files: ours, read: tree.read })) ? inputs : null
}

/** Whether this part of a command only installs, and from manifests alone. */
function isKnown(part: string, tree: Tree): boolean {
  const tool = SETUP_TOOLS.find(({ command }) => command.test(part))
  const words = tool === undefined ? [] : part.replace(tool.command, '').split(/\s+/).filter((word) => word !== '')
  // Words of a plain shell command, without any of its signs; `npm install .` and the like build what lies there, addresses may name files.
  return tool !== undefined && words.every((word) => /^[\w@.=/+-]+$/.test(word) && !/^\.{1,2}(\/|$)/.test(word)) && !tool.reachesFurther(words, tree)
}

/** Words of the command that are files of the repository. */
function namedBy(tree: Tree, command: string): string[] {
  const words = new Set(command.split(/[\s=]+/).map((word) => word.replace(/^\.\//, '')))
  return tree.files.filter((path) => words.has(path))
}
