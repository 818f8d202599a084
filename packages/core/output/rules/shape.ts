import { finding, type Rule } from '../finding.ts'
import { compileGlobs } from '../globs.ts'
import { baseName, folderOf, isGeneratedPath, isProse, isTestMaterial } from '../paths.ts'
import { squeeze } from '../view.ts'

/** A change without a change. */
export const emptyDiff: Rule = function* ({ change }) {
  if (change.files.length === 0) yield finding('empty_diff', 'error', '', null, 'The change is empty.')
}

/** What the ticket did not declare. A rename counts on both sides. */
export const outOfScope: Rule = function* ({ change, options }) {
  if (!options.scope || options.scope.length === 0) return
  const scope = compileGlobs(options.scope)
  for (const file of change.files) {
    const outside = [file.path, file.oldPath].find((path) => !scope.matches(path))
    if (outside !== undefined) yield finding('out_of_scope', 'error', outside, null, `${outside} is not in the declared scope.`)
  }
}

const CI_FILES = compileGlobs(['.github/workflows/', '.github/actions/', '.gitlab-ci.yml', '.gitlab/ci/', '.circleci/', '/.travis.yml', 'azure-pipelines*.yml', '/Jenkinsfile', 'bitbucket-pipelines.yml', '.buildkite/', '/.drone.yml', '/.woodpecker.yml', '.woodpecker/', '/.cirrus.yml', '/appveyor.yml', '/.appveyor.yml', '/.ci/'])
const GATE_FILES = compileGlobs(['/swarm.yml', '/.swarm/'])

/** Configuration that decides what counts as good: Swarm's own and `protect` never, the pipeline's only by a person's eye. */
export const protectedFiles: Rule = function* ({ files, options }) {
  const asked = compileGlobs(options.protect ?? [])
  const pipelineLeft = files.some((view) => view.file.after !== null && CI_FILES.matches(view.path))
  for (const view of files) {
    const paths = [view.path, view.file.oldPath]
    if (paths.some((path) => GATE_FILES.matches(path) || asked.matches(path))) {
      yield finding('protected_file', 'error', view.path, null, `${view.path} is protected.`)
    } else if (paths.some((path) => CI_FILES.matches(path))) {
      const weak = view.added.find(({ text }) => (view.added.length <= 6 && /^\s*continue-on-error:\s*true|^\s*allow_failure:\s*true|^\s*if:\s*(?:false|\$\{\{\s*false\s*\}\})\s*$/.test(text)) || (view.removed.some((old) => squeeze(text).startsWith(squeeze(old.text)) && squeeze(old.text) !== '') && /\|\|\s*(?:true|:|exit 0)\s*$/.test(text) && /\b(?:test|lint|check|build|pytest|cargo|npm|yarn|pnpm|go|make|mvn|gradle)\b/.test(text)))
      if (weak && view.file.before !== null) yield finding('ci_disabled', 'error', view.path, weak.line, 'A step of the pipeline may fail now without failing it.')
      else if (view.file.after === null && !pipelineLeft && /(?:^|[/_.-])(?:test|tests|ci|build|check|main|go|rust|node|python|\.gitlab-ci|\.travis)/i.test(view.path)) yield finding('ci_disabled', 'warning', view.path, null, `The pipeline ${view.path} is gone.`)
      else yield finding('protected_file', 'warning', view.path, null, `${view.path} decides how the repository is checked.`)
    }
  }
}

const MAX_LINES_ERROR = 20_000
const MAX_LINES_WARNING = 3_000
const MAX_FILES_WARNING = 150
const MAX_TEXT_ERROR_BYTES = 2 * 1024 * 1024
const MAX_TEXT_WARNING_BYTES = 512 * 1024
const MAX_BINARY_ERROR_BYTES = 2 * 1024 * 1024

/** Changes and files that nobody can review. First commits are spared: they are large by nature. */
export const sizes: Rule = function* ({ change, files }) {
  const judged = files.filter((view) => !view.isGenerated && !view.isFixture && !isTestMaterial(view.path))
  const added = judged.reduce((sum, view) => sum + view.added.length, 0)
  if (added > MAX_LINES_WARNING) yield finding('diff_too_large', added > MAX_LINES_ERROR && !change.fromNothing ? 'error' : 'warning', '', null, `The change adds ${added} lines outside generated files and fixtures.`)
  else if (judged.length > MAX_FILES_WARNING) yield finding('diff_too_large', 'warning', '', null, `The change touches ${judged.length} files.`)
  for (const view of files) {
    const after = view.file.after
    if (after === null || after.binary || after.mode === '120000') continue
    const grown = after.sizeBytes - (view.file.before?.sizeBytes ?? 0)
    if (grown <= MAX_TEXT_WARNING_BYTES) continue
    const grave = grown > MAX_TEXT_ERROR_BYTES && !(isGeneratedPath(view.path) || isTestMaterial(view.path)) && !change.fromNothing
    yield finding('file_too_large', grave ? 'error' : 'warning', view.path, null, `${view.path} grows by ${Math.round(grown / 1024)} KiB.`)
  }
}

const ASSETS = /\.(?:png|jpe?g|gif|webp|avif|ico|icns|bmp|tiff?|svgz|woff2?|ttf|otf|eot|mp[34]|ogg|wav|flac|webm|mov|pdf|psd|ai|sketch|fig|glb|gltf|blend|xcf|cur|hdr|exr|ktx2?|wasm|snap|mo|gmo|keystore|xlsx?|docx?|pptx?)$/i
const BUILT = /\.(?:exe|dll|so|so\.\d+|dylib|a|o|obj|lib|class|pyc|pyo|pyd|jar|war|ear|node|bin|elf|deb|rpm|msi|dmg|iso|img|apk|ipa|zip|tar|tgz|gz|bz2|xz|zst|7z|rar|whl|egg|gem|nupkg|db|sqlite3?|mdb|core|dump|pdb|ilk|rlib|rmeta|swp)$/i

/** Binaries: assets are looked at, built things and unknown ones are not taken. */
export const binaries: Rule = function* ({ change, files }) {
  for (const view of files) {
    const after = view.file.after
    if (after === null) continue
    if (after.mode === '160000') {
      yield finding('submodule_changed', 'warning', view.path, null, `The submodule ${view.path} points to another commit.`)
      continue
    }
    if (after.mode === '120000') {
      const target = after.text ?? ''
      const depth = folderOf(view.path) === '' ? 0 : folderOf(view.path).split('/').length
      let level = depth
      const leaves = target.startsWith('/') || target.split('/').some((part) => {
        level += part === '..' ? -1 : part === '.' || part === '' ? 0 : 1
        return level < 0
      })
      if (leaves && target !== view.file.before?.text) yield finding('link_outside', isTestMaterial(view.path) ? 'warning' : 'error', view.path, null, `The link ${view.path} points outside the repository.`)
      continue
    }
    const large = after.sizeBytes > MAX_BINARY_ERROR_BYTES
    if (!after.binary && !(after.text === null && (BUILT.test(view.path) || ASSETS.test(view.path)))) continue
    if (view.file.status === 'renamed' && view.file.before?.sizeBytes === after.sizeBytes) continue
    const atHome = isTestMaterial(view.path) || view.isFixture || change.fromNothing || /(?:^|\/)(?:gradle\/wrapper|\.yarn|licenses?|vendor|third[_-]?party)\//.test(view.path) || (/(?:^|\/)(?:docs?|assets|static|_static|images?|img|media|public|website|site|art|logo)\//.test(view.path) && !BUILT.test(view.path) && !large)
    const known = view.file.before !== null || atHome
    const grave = !known && (!ASSETS.test(view.path) || BUILT.test(view.path) || large)
    yield finding('binary_file', grave || (large && !atHome) ? 'error' : 'warning', view.path, null, `${view.path} is a binary of ${after.sizeBytes} bytes.`)
  }
}

const JUNK: readonly (readonly [RegExp, string])[] = [
  [/(?:^|\/)node_modules\//, 'installed packages'],
  [/(?:^|\/)(?:__pycache__|\.pytest_cache|\.mypy_cache|\.ruff_cache|\.tox|\.nox|\.venv|venv|site-packages|[^/]+\.egg-info)\/|\.py[co]$/, 'made by Python'],
  [/(?:^|\/)(?:\.DS_Store|Thumbs\.db|desktop\.ini|\._[^/]+)$/, 'made by a file manager'],
  [/\.(?:orig|rej|bak|backup|old|swp|swo|tmp|temp)$|~$|(?:^|\/)(?:#[^/]+#|\.#[^/]+)$/i, 'an editor\'s or patch\'s left-over'],
  [/\.(?:log|pid|stackdump|heapsnapshot|cpuprofile|prof|hprof)$|(?:^|\/)(?:npm-debug\.log[^/]*|core\.\d+|nohup\.out|hs_err_pid[^/]*)$/, 'a log or a dump'],
  [/(?:^|\/)(?:\.nyc_output|\.coverage(?:\.[^/]+)?|lcov\.info|htmlcov|\.sass-cache|\.parcel-cache|\.next|\.nuxt|\.turbo|\.gradle|\.terraform|\.eslintcache|\.cache)(?:\/|$)|\.tsbuildinfo$/, 'a tool\'s cache or report'],
  [/(?:^|\/)(?:\.env|\.env\.(?:local|production|prod|development)|\.netrc|\.npmrc\.local|id_(?:rsa|dsa|ecdsa|ed25519))$/, 'private configuration'],
]
const BUILD_FOLDER = /^(.*?(?:^|\/)(?:dist|build|out|target|coverage|bin|obj|\.output|_build|cmake-build-[\w-]+))\//

/** Files that no repository wants, and built ones in a folder that the base did not keep. */
export const junk: Rule = function* ({ change, files }) {
  for (const view of files) {
    if (view.file.before !== null || view.file.after === null) continue
    const kind = JUNK.find(([pattern]) => pattern.test(view.path))
    if (kind) {
      const [pattern, what] = kind
      const atHome = isTestMaterial(view.path) || (change.baseFolders.has(folderOf(view.path)) && pattern === JUNK[0]?.[0]) || change.fromNothing
      yield finding('junk_file', atHome && !/node_modules\/\.|\.DS_Store|\.env/.test(view.path) ? 'warning' : 'error', view.path, null, `${view.path} is ${what}.`)
      continue
    }
    const built = BUILD_FOLDER.exec(view.path)
    if (built && !change.baseFolders.has(built[1] as string) && !isTestMaterial(view.path) && !change.fromNothing) {
      const looksBuilt = view.isGenerated && /\.(?:js|css|map|html|o|obj|class|d\.ts|json|txt)$/.test(view.path) && /(?:^|\/)(?:dist|coverage|target|\.output|out|build|cmake-build[\w-]*)\//.test(view.path)
      yield finding('generated_file', looksBuilt && /(?:^|\/)(?:dist|coverage|target)\//.test(view.path) ? 'error' : 'warning', view.path, null, `${view.path} lies in a folder for built files that the repository did not keep before.`)
    }
  }
}

/** What a merge left behind. */
export const conflictMarkers: Rule = function* ({ files }) {
  for (const view of files) {
    if (view.isFixture || view.file.after?.text == null) continue
    const open = view.added.find(({ text }) => /^<{7} \S/.test(text))
    const close = view.added.find(({ text }) => /^>{7} \S/.test(text))
    const middle = view.added.find(({ text }) => /^={7}\s*$/.test(text))
    if ((open && close) || (open && middle) || (close && middle)) {
      const about = isProse(view.path) && /```/.test(view.file.after.text)
      yield finding('conflict_markers', about ? 'warning' : 'error', view.path, (open ?? close)?.line ?? null, 'Conflict markers were left in.')
    }
  }
}

const ESSENTIAL = /^(?:license|licence|copying|readme|package\.json|pyproject\.toml|setup\.py|cargo\.toml|go\.mod|pom\.xml|build\.gradle(?:\.kts)?|cmakelists\.txt|makefile|\.gitignore|tsconfig\.json|gemfile|composer\.json|mix\.exs|dockerfile)(?:\.(?:md|txt|rst))?$/i

/** The files at the root that make a repository what it is; moving one or replacing it by its like is no deletion. */
export const essentialFiles: Rule = function* ({ files }) {
  const stem = (path: string) => baseName(path).toLowerCase().replace(/\.(?:md|txt|rst|kts|markdown)$/, '')
  const BUILD = /^(?:setup\.py|pyproject|build\.gradle|pom\.xml|cmakelists|makefile|setup\.cfg|meson\.build|package\.json)/
  const present = new Set(files.filter((view) => view.file.after !== null).map((view) => stem(view.path)))
  for (const view of files) {
    if (view.file.status !== 'deleted' || view.path.includes('/') || !ESSENTIAL.test(view.path)) continue
    const replaced = present.has(stem(view.path)) || (BUILD.test(stem(view.path)) && [...present].some((name) => BUILD.test(name)))
    const grave = /^(?:license|licence|copying|readme|package\.json|cargo\.toml|go\.mod|pyproject\.toml|pom\.xml)/i.test(view.path)
    if (!replaced) yield finding('essential_file_deleted', grave ? 'error' : 'warning', view.path, null, `${view.path} was deleted.`)
  }
}
