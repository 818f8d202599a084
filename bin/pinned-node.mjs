import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** The major version of Node that Swarm runs on: it runs TypeScript as it stands, which the machine's own Node may not. */
export const NODE_MAJOR = 24

/**
 * Where the pinned Node of this checkout is. It comes from npm as an optional dependency, one package per platform.
 * @param {string} root the checkout
 * @returns {string | undefined} the path of its binary; undefined before `npm ci`, or where npm has none for this platform
 */
export function findPinnedNode(root) {
  const binary = join(root, 'node_modules', `node-${process.platform}-${process.arch}`, 'bin', 'node')
  return existsSync(binary) ? binary : undefined
}

/** True when the Node that runs this file is new enough to run Swarm itself. */
export function runsOnPinnedMajor() {
  return Number(process.versions.node.split('.')[0]) >= NODE_MAJOR
}
