import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

/** The end of a file that may be of any length, as text for people; '' when there is none. */
export function lastBytes(path: string, count: number): string {
  let file: number
  try {
    file = openSync(path, 'r')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return ''
    throw error
  }
  try {
    const { size } = fstatSync(file)
    const bytes = Buffer.alloc(Math.min(size, count))
    return bytes.toString('utf8', 0, readSync(file, bytes, 0, bytes.length, size - bytes.length)).trim()
  } finally {
    closeSync(file)
  }
}
