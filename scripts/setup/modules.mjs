import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { readdir, lstat } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { findPinnedNode, NODE_MAJOR } from '../../bin/pinned-node.mjs'
import { formatSize } from './progress.mjs'
import { runQuietly } from './run-quietly.mjs'
import { SetupError } from './setup-error.mjs'

/**
 * Installs what the lockfile says, when what is installed differs from it.
 * @param {string} root the checkout
 * @param {ReturnType<import('./progress.mjs').createProgress>} progress
 */
export async function setUpModules(root, progress) {
  const step = progress.step('npm packages')
  const reason = whyStale(root)
  if (reason === undefined) {
    writeStamp(root)
    step.done('as the lockfile says')
    return
  }
  const wanted = Object.keys(readLock(root)).filter((path) => path.includes('node_modules/')).length
  step.update(`installing (${reason}; up to ${wanted} packages)`)
  // No package needs a script of its own: what has native code brings it built (better-sqlite3 would be compiled once more otherwise, with headers from the network).
  const { code, tail } = await runQuietly([...npmCommand(), 'ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: root, env: npmEnvironment(root) })
  if (code !== 0) {
    step.failed(`"npm ci" ended with code ${code}`)
    throw new SetupError(`npm could not install the packages of package-lock.json. Its last words:\n${tail}\nCheck the network and the registry that npm is set to ("npm config get registry"), then run the same command again.`)
  }
  writeStamp(root)
  step.done(`installed, ${formatSize(await sizeOf(join(root, 'node_modules')))}`)
}

/**
 * Compares npm's own record of what it installed with the lockfile, package by package.
 * @returns {string | undefined} why it has to be installed; undefined when it is as the lockfile says
 */
export function whyStale(root) {
  const record = join(root, 'node_modules', '.package-lock.json')
  if (!existsSync(record)) return 'nothing is installed yet'
  const installed = JSON.parse(readFileSync(record, 'utf8')).packages
  for (const [path, wanted] of Object.entries(readLock(root))) {
    if (!path.includes('node_modules/')) continue
    const found = installed[path]
    // Optional packages of other platforms are rightly absent.
    if (found === undefined && wanted.optional) continue
    if (found === undefined) return `${path} is missing`
    if (found.version !== wanted.version || found.integrity !== wanted.integrity) return `${path} is another version`
  }
  if (process.platform !== 'win32' && !findPinnedNode(root) && isPinnedFor(root)) return `Node ${NODE_MAJOR} is missing`
  return undefined
}

/** Says which Node the project runs on, or that there is none for this platform. */
export function checkPinnedNode(root, progress) {
  const step = progress.step('Node')
  const pinned = findPinnedNode(root)
  if (pinned) {
    step.done(`${JSON.parse(readFileSync(join(pinned, '..', '..', 'package.json'), 'utf8')).version}, pinned by the lockfile`)
  } else if (Number(process.versions.node.split('.')[0]) >= NODE_MAJOR) {
    step.done(`${process.versions.node}, this machine's own`)
  } else {
    step.failed(`${NODE_MAJOR} is missing`)
    throw new SetupError(`npm has no Node ${NODE_MAJOR} for ${process.platform}-${process.arch}, or optional packages are switched off ("npm config get omit"). Switch them on and run this again, or install Node ${NODE_MAJOR} and put it first in PATH.`)
  }
}

function readLock(root) {
  return JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages
}

function isPinnedFor(root) {
  return `node_modules/node-${process.platform}-${process.arch}` in readLock(root)
}

/** The file that `./swarm` compares the lockfile with, so that it need not start Node to see that all is there. */
function writeStamp(root) {
  const digest = createHash('sha256').update(readFileSync(join(root, 'package-lock.json'))).digest('hex')
  writeFileSync(join(root, 'node_modules', '.swarm-setup'), `${digest}\n`)
}

function npmCommand() {
  const script = process.env.npm_execpath
  return script && script.endsWith('npm-cli.js') && existsSync(script) ? [process.execPath, script] : ['npm']
}

/** `npm ci` deletes node_modules first: a Node that lives in there must not be the one that runs it. */
function npmEnvironment(root) {
  const inside = join(root, 'node_modules')
  const path = (process.env.PATH ?? '').split(delimiter).filter((folder) => !folder.startsWith(inside))
  return { ...process.env, PATH: path.join(delimiter), npm_config_progress: 'false' }
}

async function sizeOf(folder) {
  let total = 0
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) total += await sizeOf(path)
    else if (entry.isFile()) total += (await lstat(path)).size
  }
  return total
}
