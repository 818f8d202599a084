// The lockfile serves every machine: no registry's address in it, and no platform's optional package missing from it ("npm ci"
// refuses such a lockfile; npm writes one when a package cannot be fetched).    node scripts/check/lockfile.mjs [folder]
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fail, pass } from './outcome.mjs'

const root = resolve(process.argv[2] ?? '.')
const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'))
const paths = new Set(Object.keys(packages))
const problems = []

for (const [path, entry] of Object.entries(packages)) {
  if (/^https?:/.test(entry.resolved ?? '')) problems.push(`${path} names the registry it came from; set omit-lockfile-registry-resolved=true and make the lockfile again`)
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    if (!isLocked(path, name)) problems.push(`${path || 'package.json'} wants ${name}@${version}, which the lockfile lacks: remove node_modules, then "npm install --package-lock-only"; if it stays away, it cannot be fetched and another version of ${path || name} is needed`)
  }
}

if (problems.length > 0) fail(problems)
else pass(`${paths.size} packages`)

/** Node looks in the node_modules of the package itself, then of each folder above it. */
function isLocked(path, name) {
  for (let folder = path; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/')))) {
    if (paths.has(folder === '' ? `node_modules/${name}` : `${folder}/node_modules/${name}`)) return true
    if (folder === '') return false
  }
}
