export interface ArchiveEntry { path: string; mode: number; content: Uint8Array }

const DIRECTORY = 0o040000
const REGULAR = 0o100000

export const directoryEntry = (path: string): ArchiveEntry => ({ path, mode: DIRECTORY | 0o755, content: new Uint8Array(0) })
export const fileEntry = (path: string, content: Uint8Array, mode = 0o644): ArchiveEntry => ({ path, mode: REGULAR | mode, content })

/**
 * An initramfs archive in cpio's "newc" form (Documentation/driver-api/early-userspace/buffer-format.rst of Linux), which
 * is the same bytes for the same entries: owner root, no times.
 */
export function newcArchive(entries: readonly ArchiveEntry[]): Buffer {
  const parts: Buffer[] = []
  const add = (bytes: Uint8Array) => parts.push(Buffer.from(bytes), Buffer.alloc((4 - (bytes.length % 4)) % 4))
  ;[...entries, { path: 'TRAILER!!!', mode: 0, content: new Uint8Array(0) }].forEach(({ path, mode, content }, index) => {
    const name = Buffer.from(`${path}\0`)
    const fields = [index + 1, mode, 0, 0, (mode & DIRECTORY) === DIRECTORY && mode < REGULAR ? 2 : 1, 0, content.length, 0, 0, 0, 0, name.length, 0]
    add(Buffer.concat([Buffer.from('070701' + fields.map((field) => field.toString(16).padStart(8, '0')).join('')), name]))
    add(content)
  })
  return Buffer.concat(parts)
}
