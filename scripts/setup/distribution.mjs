import { accessSync, constants, existsSync, readdirSync, readFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runQuietly } from './run-quietly.mjs'
import { SetupError } from './setup-error.mjs'

const here = dirname(fileURLToPath(import.meta.url))
/** Seconds to wait for another package manager that holds the lock (unattended upgrades take minutes on a fresh machine). */
const LOCK_WAIT_SECONDS = 300
const POSTGRESQL_CONF = '/etc/postgresql-common/createcluster.d/swarm-setup.conf'

/** @typedef {{ name: string, for: string, command?: string, file?: string, glob?: string, dpkg?: string }} DistributionPackage */

/**
 * The distribution packages that a purpose needs: what each is for and how its presence is seen.
 * @param {'demo' | 'test'} purpose tests need all that the demo needs
 * @returns {DistributionPackage[]}
 */
export function packagesFor(purpose) {
  const table = JSON.parse(readFileSync(join(here, 'distribution-packages.json'), 'utf8'))
  return purpose === 'test' ? [...table.demo, ...table.test] : table.demo
}

/** @param {DistributionPackage[]} packages @returns {DistributionPackage[]} those that this machine lacks */
export function missingOf(packages) {
  return packages.filter((wanted) => !isPresent(wanted))
}

/** @returns {{ apt: boolean, name: string }} */
export function describeSystem() {
  if (process.platform !== 'linux') return { apt: false, name: process.platform === 'darwin' ? 'macOS' : process.platform }
  const release = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : ''
  const field = (key) => new RegExp(`^${key}="?([^"\\n]*)"?$`, 'm').exec(release)?.[1] ?? ''
  const family = `${field('ID')} ${field('ID_LIKE')}`.split(' ')
  return { apt: (family.includes('debian') || family.includes('ubuntu')) && findCommand('apt-get') !== undefined, name: field('PRETTY_NAME') || 'Linux' }
}

/**
 * The one command that a person types when we may not install ourselves.
 * @param {DistributionPackage[]} missing
 */
export function installCommand(missing) {
  return `sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing.map(({ name }) => name).join(' ')}`
}

/**
 * Installs missing packages by apt, or says exactly what to type.
 * @param {DistributionPackage[]} missing
 * @param {ReturnType<import('./progress.mjs').createProgress>} progress
 */
export async function installPackages(missing, progress) {
  const step = progress.step('distribution packages')
  const names = missing.map(({ name }) => name)
  const prefix = await rootPrefix()
  if (prefix === undefined) {
    step.failed(`${names.length} missing, and this user may not install them`)
    const width = Math.max(...names.map((name) => name.length))
    throw new SetupError(`These packages are missing:\n${missing.map((one) => `  ${one.name.padEnd(width)}  ${one.for}`).join('\n')}\nInstall them with this one command, then run the same command again:\n\n  ${installCommand(missing)}\n`)
  }
  step.update(`reading the package lists for ${names.join(' ')}`)
  await apt(prefix, ['update'], step)
  const withPostgresql = names.includes('postgresql')
  // Its tools come first, so that the server's own set-up can be told not to make and start a cluster.
  const first = withPostgresql ? [...names.filter((name) => name !== 'postgresql'), 'postgresql-common'] : names
  const size = await aptInstall(prefix, first, step)
  const sizes = [size]
  if (withPostgresql) {
    await mustRun([...prefix, 'install', '-D', '-m', '644', join(here, 'postgresql-no-cluster.conf'), POSTGRESQL_CONF], step)
    try {
      sizes.push(await aptInstall(prefix, ['postgresql'], step))
    } finally {
      await mustRun([...prefix, 'rm', '-f', POSTGRESQL_CONF], step)
    }
  }
  const left = missingOf(missing)
  if (left.length > 0) {
    step.failed(`still missing: ${left.map(({ name }) => name).join(' ')}`)
    throw new SetupError('apt reported success, yet the programs above are not there. Look at "apt-get check".')
  }
  step.done(`installed ${names.join(' ')}${sizes.filter(Boolean).map((text) => `; ${text}`).join('')}`)
}

/** @returns {Promise<string[] | undefined>} what to put before a command to run it as root; undefined when that is not possible */
async function rootPrefix() {
  if (process.getuid?.() === 0) return []
  if (findCommand('sudo') === undefined) return undefined
  return (await runQuietly(['sudo', '-n', 'true'])).code === 0 ? ['sudo', '-n'] : undefined
}

async function aptInstall(prefix, names, step) {
  let size = ''
  await apt(prefix, ['install', '-y', '--no-install-recommends', ...names], step, (line) => {
    const download = /^Need to get (.+?) of archives/.exec(line)
    const disk = /^After this operation, (.+?) of additional disk space/.exec(line)
    if (download) size = `${download[1]} fetched`
    if (disk) size += `${size ? ', ' : ''}${disk[1]} on disk`
  })
  return size
}

async function apt(prefix, args, step, onLine) {
  const options = ['-o', `DPkg::Lock::Timeout=${LOCK_WAIT_SECONDS}`, '-o', 'APT::Status-Fd=3', '-o', 'APT::Color=0', '-o', 'Dpkg::Use-Pty=0']
  const argv = [...prefix, 'env', 'DEBIAN_FRONTEND=noninteractive', 'NEEDRESTART_SUSPEND=1', 'LC_ALL=C', 'apt-get', '-q', ...options, ...args]
  // sudo closes descriptors from 3 on; progress is then shown by time alone.
  const usable = prefix.length === 0 ? argv : argv.filter((part, index) => part !== 'APT::Status-Fd=3' && argv[index + 1] !== 'APT::Status-Fd=3')
  const givenUpAt = performance.now() + LOCK_WAIT_SECONDS * 1000
  for (;;) {
    const { code, tail } = await runQuietly(usable, { onLine, onStatusLine: (line) => showStatus(line, step) })
    if (code === 0) return
    // The lists' lock has no timeout option, unlike dpkg's.
    if (/Could not get lock|Unable to lock/.test(tail) && performance.now() < givenUpAt) {
      step.update('waiting for another package manager to finish')
      await new Promise((resolve) => setTimeout(resolve, 2000))
      continue
    }
    step.failed(`"apt-get ${args[0]}" ended with code ${code}`)
    throw new SetupError(`apt-get ${args.join(' ')} failed. Its last words:\n${tail}\nMend what it names (network, package sources, disk space), then run the same command again.`)
  }
}

/** apt's machine-readable progress: `dlstatus:<n>:<percent>:<text>` and `pmstatus:<package>:<percent>:<text>`. */
function showStatus(line, step) {
  const [kind, , percent, ...text] = line.split(':')
  if (kind === 'dlstatus') step.update(`${Math.round(Number(percent))} % of fetching; ${text.join(':').trim()}`)
  if (kind === 'pmstatus') step.update(`${Math.round(Number(percent))} % of installing; ${text.join(':').trim()}`)
}

async function mustRun(argv, step) {
  const { code, tail } = await runQuietly(argv)
  if (code === 0) return
  step.failed(`"${argv.join(' ')}" ended with code ${code}`)
  throw new SetupError(tail)
}

/** @param {DistributionPackage} wanted */
function isPresent({ command, file, glob, dpkg }) {
  if (dpkg && existsSync(`/var/lib/dpkg/info/${dpkg}.list`)) return true
  if (command && findCommand(command)) return true
  if (glob && matches(glob)) return true
  return Boolean(file && !dpkg && existsSync(file))
}

/** One `*` for a folder's name is all that is needed (fs.globSync is younger than Node 20). */
function matches(pattern) {
  const [before, after] = pattern.split('/*/')
  return existsSync(before) && readdirSync(before).some((name) => existsSync(join(before, name, after)))
}

function findCommand(name) {
  // Users other than root often lack the sbin folders, where several of these tools live.
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin']
  return folders.map((folder) => join(folder, name)).find((path) => {
    try {
      accessSync(path, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
