import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { git } from './run.ts'

/**
 * Two texts as `diff -u` shows them, by git; empty when they are the same.
 * @param names what stands behind `---` and `+++`
 */
export async function diffTexts(before: string, after: string, names: readonly [before: string, after: string]): Promise<string> {
  if (before === after) return ''
  const folder = await mkdtemp(join(tmpdir(), 'swarm-diff-'))
  try {
    await Promise.all([writeFile(join(folder, 'before'), before), writeFile(join(folder, 'after'), after)])
    const { stdout } = await git(folder, ['diff', '--no-index', '--no-color', '--no-ext-diff', '--no-textconv', '--text', '--', 'before', 'after'], { okCodes: [0, 1] })
    const hunks = stdout.indexOf('@@ ')
    return hunks < 0 ? '' : `--- ${names[0]}\n+++ ${names[1]}\n${stdout.slice(hunks)}`
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
