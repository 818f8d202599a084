import { chmodSync, lstatSync, mkdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { DomainError } from '@swarm/core/errors.ts'

/** As many links as Linux follows (path_resolution(7)). */
const MAX_LINKS = 40

/**
 * Where an absolute path of an image lies in its tree on the host, links followed as they would be inside: an absolute one
 * (/var/run → /run) begins at the tree again, and nothing leads out of it.
 */
export function resolveInside(tree: string, path: string): string {
  let [names, at, links] = [path.split('/'), [] as string[], 0]
  while (names.length > 0) {
    const [name = '', ...rest] = names
    names = rest
    if (name === '' || name === '.') continue
    if (name === '..') {
      at.pop()
      continue
    }
    const here = join(tree, ...at, name)
    if (lstatSync(here, { throwIfNoEntry: false })?.isSymbolicLink() !== true) {
      at.push(name)
      continue
    }
    if (++links > MAX_LINKS) throw new DomainError('invalid_input', { field: 'image.files of swarm.yml', problem: `"${path}" leads through too many links.` })
    const target = readlinkSync(here)
    if (target.startsWith('/')) at = []
    names = [...target.split('/'), ...names]
  }
  return join(tree, ...at)
}

/** Writes a file into the tree of an image; one that is there is replaced, and folders are made. */
export function writeInto(tree: string, path: string, content: Uint8Array, mode: number): void {
  const refuse = (problem: string, cause?: unknown): never => { throw new DomainError('invalid_input', { field: 'image.files of swarm.yml', problem: `"${path}" ${problem} in the image.` }, { cause }) }
  try {
    const place = resolveInside(tree, path)
    if (lstatSync(place, { throwIfNoEntry: false })?.isDirectory() === true) refuse('is a folder')
    mkdirSync(dirname(place), { recursive: true })
    rmSync(place, { force: true })
    writeFileSync(place, content)
    chmodSync(place, mode)
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOTDIR' || error.code === 'EEXIST')) refuse('lies below something that is no folder', error)
    throw error
  }
}
