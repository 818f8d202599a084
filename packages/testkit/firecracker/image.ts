import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import type { Image } from '@swarm/runner/images/image.ts'

/** Files that have the form of an image's and hold no system: a bzImage whose payload begins like an ELF file, and two others. */
export function fakeImage(folder: string): Image {
  mkdirSync(folder, { recursive: true })
  const file = (name: string, content: Uint8Array) => {
    writeFileSync(join(folder, name), content)
    return join(folder, name)
  }
  const payload = gzipSync(Buffer.concat([Buffer.from('7f454c46', 'hex'), Buffer.alloc(1_000)]))
  const header = Buffer.alloc(1_024)
  header.writeUInt8(1, 0x1f1) // sectors of set-up code
  header.write('HdrS', 0x202, 'latin1')
  header.writeUInt16LE(0x20f, 0x206)
  header.writeUInt32LE(payload.length, 0x24c)
  return {
    digest: 'f'.repeat(64), directory: folder, kernelVersion: '6.1.0-fake', suite: 'fake', guestBundleDigest: '', bytes: 0, builtAtMs: 0,
    kernel: file('vmlinuz', Buffer.concat([header, payload])), initrd: file('initrd', Buffer.from('an initramfs')), root: file('root.erofs', Buffer.from('a root')),
  }
}
