import type { Tree } from './detect.ts'

/**
 * A package manager's command that installs what manifests name. Many pass over a file that is not there (a folder of wheels, a hook, the
 * program of a workspace), and a result without it would be a wrong one that looks right: whatever may read such a file reaches further.
 * Not here: bundler, whose Gemfile is a program, and composer, which scans the sources.
 */
interface SetupTool {
  readonly command: RegExp
  /** @param words what follows the command, options and all */
  readonly reachesFurther: (words: readonly string[], tree: Tree) => boolean
}

export const SETUP_TOOLS: readonly SetupTool[] = [
  { command: /^(npm (ci|install|i)|yarn( install)?|pnpm (install|i))(?= |$)/, reachesFurther: node },
  { command: /^(python3? -m )?pip3? install(?= |$)/, reachesFurther: pip },
  { command: /^poetry install(?= |$)/, reachesFurther: poetry },
  { command: /^uv sync(?= |$)/, reachesFurther: uv },
  // Of modules in the repository it reads their go.mod alone.
  { command: /^go mod download(?= |$)/, reachesFurther: () => false },
]

/** Settings of npm, pnpm and yarn by which files of the repository are run, or copied instead of linked. */
const NODE_SETTINGS = /install-?links|script-?shell|node-?options|pnpmfile|inject|userconfig|globalconfig|use-?yarnrc/i
/** What Node's package managers run or read when it is there, and pass over when it is not. */
const NODE_OPTIONAL = /(^|\/)(binding\.gyp|\.?pnpmfile\.[cm]?js|package\.(yaml|json5))$/
/** Scripts of a package.json that run at an install: they may read anything. */
const LIFECYCLE = ['preinstall', 'install', 'postinstall', 'prepublish', 'preprepare', 'prepare', 'postprepare', 'dependencies', 'pnpm:devPreinstall']
/** Where a package.json says which packages it needs, and from where. */
const NEEDS = ['dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies', 'resolutions', 'overrides', 'pnpm']

function node(words: readonly string[], { files, read }: Tree): boolean {
  if (words.some((word) => NODE_SETTINGS.test(word)) || files.some((path) => NODE_OPTIONAL.test(path))) return true
  return files.some((path) => {
    if (/(^|\/)package\.json$/.test(path)) return packageReachesFurther(path, read(path))
    return /(^|\/)(\.npmrc|pnpm-workspace\.yaml)$/.test(path) && (NODE_SETTINGS.test(read(path) ?? 'inject') || /\bfile:/.test(read(path) ?? ''))
  })
}

function packageReachesFurther(path: string, text: string | null): boolean {
  let manifest: unknown
  try {
    manifest = JSON.parse(text ?? '')
  } catch (error) {
    if (error instanceof SyntaxError) return true
    throw error
  }
  if (!isRecord(manifest)) return true
  const scripts = isRecord(manifest['scripts']) ? manifest['scripts'] : {}
  if (LIFECYCLE.some((name) => name in scripts)) return true
  // Of another package in the repository: its programs are linked only if they are there.
  if (path !== 'package.json' && ('bin' in manifest || 'directories' in manifest)) return true
  return 'dependenciesMeta' in manifest || NEEDS.some((field) => strings(manifest[field]).some((need) => /^(file|exec|patch):|^(\.{1,2}|~)?\/|^\.{1,2}$/.test(need)))
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

/** Every string in a value, at any depth. */
function strings(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(strings) : []
}

/** Options of pip that name no file or folder to read. */
const PIP_OPTIONS = /^(-[UqvI]|--(break-system-packages|user|upgrade|quiet|verbose|no-cache-dir|no-deps|pre|require-hashes|no-input|disable-pip-version-check|no-warn-script-location|prefer-binary|ignore-installed|force-reinstall|root-user-action(=\w+)?|progress-bar(=\w+)?|no-color|no-compile|only-binary=[\w:-]+|no-binary=[\w:-]+))$/
const PIP_LIST = /^(-[rc]|--(requirement|constraint))$/
/** A package of an index or of the web; a path, or an archive that may lie in the repository, is none. */
const PIP_PACKAGE = /^(?!\S+\.(whl|zip|tar|tgz|tbz2?|txz|tlz|tar\.\w+)$)[A-Za-z0-9][\w.-]*\s*(\[[\w\s,.-]*\]\s*)?([=<>!~]{1,3}\s*[\w.*+!-]+(\s*,\s*[=<>!~]{1,3}\s*[\w.*+!-]+)*\s*|@\s*(git\+)?https?:\/\/\S+\s*)?(;[^/]*)?$/

function pip(words: readonly string[], tree: Tree): boolean {
  const lists: string[] = []
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? ''
    const joined = /^(?:--(?:requirement|constraint)=|-[rc])(.+)$/.exec(word)?.[1]
    if (joined !== undefined) lists.push(joined)
    else if (PIP_LIST.test(word)) lists.push(words[++at] ?? '')
    else if (!PIP_OPTIONS.test(word) && !PIP_PACKAGE.test(word)) return true
  }
  return lists.some((path) => listReachesFurther(path, tree, new Set()))
}

/** A list of requirements or constraints, and those that it names. */
function listReachesFurther(path: string, tree: Tree, seen: Set<string>): boolean {
  if (seen.has(path)) return false
  seen.add(path)
  const text = tree.files.includes(path) ? tree.read(path) : null
  if (text === null) return true
  const lines = text.replaceAll(/\\\r?\n/g, ' ').split(/\r?\n/).map((line) => line.replace(/(^|\s)#.*$/, '').replaceAll(/\s--hash[= ]\s*\w+:[0-9a-f]+/g, '').trim())
  return lines.some((line) => {
    const list = /^(?:-[rc]\s*|--(?:requirement|constraint)[=\s]\s*)([\w./-]+)$/.exec(line)?.[1]
    if (list !== undefined) return listReachesFurther(path.replace(/[^/]*$/, '') + list.replace(/^\.\//, ''), tree, seen)
    if (line === '' || /^(-i|--index-url|--extra-index-url)[=\s]\s*https?:\/\/\S+$/.test(line) || PIP_OPTIONS.test(line)) return false
    return !PIP_PACKAGE.test(line)
  })
}

/** What makes uv or poetry build, or take packages from, something of the repository. */
const PYTHON_SOURCES = /\b(path|workspace|dynamic|find-links)["']?\s*[=\]]|file:|\burl["']?\s*=\s*\[?\s*["'](?!(git\+)?https?:)/
const PYTHON_BUILDS = /\bbuild-system\b|\bpackage["']?\s*=\s*true/

function poetry(words: readonly string[], tree: Tree): boolean {
  const project = tree.read('pyproject.toml')
  if (project === null || PYTHON_SOURCES.test(project)) return true
  if (!words.includes('--no-root') && !/^\s*package-mode\s*=\s*false\b/m.test(project)) return true
  return !words.every((word) => /^(-[nqvE]|--(no-root|no-interaction|quiet|verbose|only|with|without|sync|extras|all-extras|all-groups|no-ansi|no-cache|compile)(=[\w,.-]+)?|\w[\w,.-]*)$/.test(word))
}

function uv(words: readonly string[], tree: Tree): boolean {
  const project = tree.read('pyproject.toml')
  if (project === null || PYTHON_SOURCES.test(project) || PYTHON_SOURCES.test(tree.read('uv.toml') ?? '')) return true
  if (!words.includes('--no-install-project') && PYTHON_BUILDS.test(project)) return true
  return !words.every((word) => /^(-[nqvp]|--(frozen|locked|dev|no-dev|extra|all-extras|group|no-group|only-group|all-groups|no-default-groups|no-install-project|no-install-workspace|no-install-local|inexact|exact|no-cache|no-progress|quiet|python|compile-bytecode)(=[\w.-]+)?|\w[\w.-]*)$/.test(word))
}
