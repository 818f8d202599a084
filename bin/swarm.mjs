#!/usr/bin/env node
// The command `swarm`, for any Node ≥ 18: it only finds Node 24 and hands over. Paths that the user gives are relative to the
// folder they called from, so that folder is passed on as SWARM_CALLER_CWD (npm changes the working folder before it runs us).
import { spawn } from 'node:child_process'
import { realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { NODE_MAJOR, findPinnedNode, runsOnPinnedMajor } from './pinned-node.mjs'

const root = dirname(dirname(realpathSync(fileURLToPath(import.meta.url))))
const entry = join(root, 'packages', 'cli', 'main.ts')
const args = process.argv.slice(2)
process.env.SWARM_CALLER_CWD = callerFolder()

const pinned = findPinnedNode(root)
if (runsOnPinnedMajor()) {
  process.argv[1] = entry
  await import('./compile-cache.mjs')
  await import(pathToFileURL(entry).href)
} else if (pinned) {
  handOver(pinned)
} else {
  console.error(`swarm: Node ${NODE_MAJOR} is not there yet (this is Node ${process.versions.node}). Run "npm ci" in ${root}, or start ${join(root, 'swarm')}, which does so itself.`)
  process.exit(1)
}

function callerFolder() {
  // INIT_CWD is npm's: only believed when npm runs a script of this very package, since any npm script above us leaves it set.
  const { INIT_CWD, npm_package_json: packageFile } = process.env
  return INIT_CWD && packageFile === join(root, 'package.json') ? INIT_CWD : process.cwd()
}

/** @param {string} node */
function handOver(node) {
  const child = spawn(node, [join(root, 'bin', 'swarm.mjs'), ...args], { stdio: 'inherit' })
  // A terminal sends Ctrl-C to the whole foreground group: passing it on too would count as a second Ctrl-C.
  const inTerminal = [process.stdin, process.stdout, process.stderr].some((stream) => stream.isTTY)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']) {
    process.on(signal, () => {
      if (!(inTerminal && (signal === 'SIGINT' || signal === 'SIGQUIT'))) child.kill(signal)
    })
  }
  child.on('error', (error) => {
    console.error(`swarm: cannot start ${node}: ${error.message}. Run "npm ci" in ${root}.`)
    process.exit(1)
  })
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1)
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
  })
}
