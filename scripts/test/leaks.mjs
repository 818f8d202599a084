// What a test run must not leave behind on the machine. Ours is told from our neighbours' by the run's marker in the environment,
// by its own folder for temporary files, or by name; a snapshot before and after tells what is new.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'

/**
 * Per user and cache the runner keeps a folder in memory: `templates` (and the lock on making them) in it stay between runs on purpose (set-up makes the first
 * before any test), all else in it belongs to running microVMs. A new folder of this name is a test's own cache, left behind.
 */
const VOLATILE_FOLDER = /^swarm-\d+-[0-9a-f]{8}$/
const KEPT_IN_VOLATILE_FOLDER = ['templates', 'lock']
/** Tools that keep a cache of their own in the folder for temporary files. */
const FOREIGN_TEMPORARY = /^(node-compile-cache|vitest-|v8-compile-cache)/
const MARKER = 'SWARM_TEST_RUN'
const CGROUP_DEPTH = 5

/** @typedef {{ kind: string, name: string }} Thing */

/** @returns {Map<string, Thing>} everything on this machine that a run of ours could have made, keyed by identity */
export function snapshot({ temporaryFolder }) {
  const things = [...mounts(temporaryFolder), ...sharedMemory(), ...cgroups(), ...networkNamespaces(), ...links(), ...strayTemporaryFiles(temporaryFolder)]
  return new Map(things.map((thing) => [`${thing.kind} ${thing.name}`, thing]))
}

/**
 * What is there now and was not before, and what the run's own marks give away.
 * @param {Map<string, Thing>} before
 * @param {{ temporaryFolder: string, runId: string }} run
 * @param {typeof snapshot} [look] how the machine is looked at, before as well
 * @returns {string[]} one line each
 */
export function leaksSince(before, { temporaryFolder, runId }, look = snapshot) {
  const left = [...look({ temporaryFolder })].filter(([key]) => !before.has(key)).map(([key]) => key)
  const processes = processesOf(runId).map(({ pid, command }) => `process ${pid} ${command}`)
  return [...processes, ...left, ...temporaryFiles(temporaryFolder)]
}

/** @returns {{ pid: number, command: string }[]} processes that descend from the run, however they were re-parented */
export function processesOf(runId) {
  const found = []
  for (const pid of numericEntries('/proc')) {
    if (pid === process.pid) continue
    const environment = readOrEmpty(`/proc/${pid}/environ`)
    if (!environment.includes(`${MARKER}=${runId}`)) continue
    // A zombie has ended; its parent has not looked yet.
    if (/^State:\s+Z/m.test(readOrEmpty(`/proc/${pid}/status`))) continue
    found.push({ pid, command: readOrEmpty(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim().slice(0, 160) })
  }
  return found
}

/** @param {string} runId @returns {Record<string, string>} what marks every process of a run */
export function markerEnvironment(runId) {
  return { [MARKER]: runId }
}

function temporaryFiles(folder) {
  return entries(folder).filter((name) => !FOREIGN_TEMPORARY.test(name)).map((name) => `temporary file ${join(folder, name)}`)
}

/** Files put into /tmp by name rather than into the folder that the run was given. */
function strayTemporaryFiles(temporaryFolder) {
  return entries('/tmp').filter((name) => /swarm/i.test(name) && name !== basename(temporaryFolder)).map((name) => ({ kind: 'temporary file', name: join('/tmp', name) }))
}

function mounts(temporaryFolder) {
  // The folder /run/netns itself becomes a mount with the first namespace that anybody names since the machine started, and stays one (ip-netns(8)).
  return readOrEmpty('/proc/self/mountinfo').split('\n').filter(Boolean)
    .map((line) => ({ point: line.split(' ')[4] ?? '', source: line.split(' - ')[1]?.split(' ')[1] ?? '' }))
    .filter(({ point, source }) => point.startsWith(temporaryFolder) || point.startsWith('/run/netns/') || /swarm/i.test(`${point} ${source}`))
    .map(({ point }) => ({ kind: 'mount', name: point }))
}

function sharedMemory() {
  const name = (path) => ({ kind: 'shared memory', name: path })
  return entries('/dev/shm').flatMap((entry) => {
    const path = join('/dev/shm', entry)
    if (!VOLATILE_FOLDER.test(entry)) return [name(path)]
    return [name(path), ...entries(path).filter((inner) => !KEPT_IN_VOLATILE_FOLDER.includes(inner)).map((inner) => name(join(path, inner)))]
  })
}

function cgroups() {
  const found = []
  const walk = (folder, depth) => {
    for (const name of entries(folder)) {
      const path = join(folder, name)
      if (!isFolder(path)) continue
      if (/swarm/i.test(name)) found.push({ kind: 'cgroup', name: path })
      if (depth > 1) walk(path, depth - 1)
    }
  }
  walk('/sys/fs/cgroup', CGROUP_DEPTH)
  return found
}

function networkNamespaces() {
  return entries('/run/netns').map((name) => ({ kind: 'network namespace', name }))
}

function links() {
  return entries('/sys/class/net').map((name) => ({ kind: 'network link', name }))
}

function numericEntries(folder) {
  return entries(folder).filter((name) => /^\d+$/.test(name)).map(Number)
}

function entries(folder) {
  if (!existsSync(folder)) return []
  try {
    return readdirSync(folder)
  } catch (error) {
    return ignoreGone(error, [])
  }
}

function isFolder(path) {
  try {
    return statSync(path).isDirectory()
  } catch (error) {
    return ignoreGone(error, false)
  }
}

function readOrEmpty(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    return ignoreGone(error, '')
  }
}

/** Processes, cgroups and files of others come and go while we look, and some are not ours to read. */
function ignoreGone(error, value) {
  if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM', 'ENOTDIR', 'EINVAL', 'ENODEV'].includes(error.code)) return value
  throw error
}
