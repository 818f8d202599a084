import { closeSync, openSync, readFileSync, readSync } from 'node:fs'

const CHUNK_BYTES = 8 * 1024 * 1024

/**
 * Which texts occur in a process's memory, byte for byte, in any readable mapping. Of a VMM that is its own memory and all of
 * its guest's: what no process, kernel or page cache in the guest has is not there.
 */
export function findInMemory(pid: number, texts: readonly string[]): string[] {
  const found = new Set<string>()
  const overlap = Math.max(...texts.map((text) => Buffer.byteLength(text)))
  const buffer = Buffer.alloc(CHUNK_BYTES + overlap)
  const memory = openSync(`/proc/${pid}/mem`, 'r')
  try {
    for (const line of readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n')) {
      const match = /^([0-9a-f]+)-([0-9a-f]+) r\S+ .*?(\[v\w+\])?$/.exec(line)
      if (match === null || match[3] !== undefined) continue
      const [from, to] = [Number.parseInt(match[1] ?? '', 16), Number.parseInt(match[2] ?? '', 16)]
      for (let at = from; at < to; at += CHUNK_BYTES) {
        const length = readOrNone(memory, buffer, Math.min(buffer.length, to - at), at)
        const part = buffer.subarray(0, length)
        for (const text of texts) if (!found.has(text) && part.includes(text)) found.add(text)
      }
    }
  } finally {
    closeSync(memory)
  }
  return [...found]
}

/** Mappings of devices and guard pages cannot be read. */
function readOrNone(file: number, buffer: Buffer, length: number, position: number): number {
  try {
    return readSync(file, buffer, 0, length, position)
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'EIO' || error.code === 'EFAULT')) return 0
    throw error
  }
}
