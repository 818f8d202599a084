import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { extractVmlinux } from './vmlinux.ts'

const ELF = Buffer.concat([Buffer.from('7f454c46', 'hex'), Buffer.alloc(500_000, 'kernel ')])
let folder: string
beforeEach(() => { folder = mkdtempSync(join(tmpdir(), 'swarm-vmlinux-test-')) })
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** A bzImage with this payload; the size that it unpacks to is at its end. */
function bzImage(compressed: Buffer, bytes = ELF.length): string {
  const size = Buffer.alloc(4)
  size.writeUInt32LE(bytes)
  const payload = compressed.toString('hex', 0, 2) === '1f8b' ? compressed : Buffer.concat([compressed, size])
  const head = Buffer.alloc(1_500)
  head.writeUInt8(1, 0x1f1)
  head.write('HdrS', 0x202, 'latin1')
  head.writeUInt16LE(0x20f, 0x206)
  head.writeUInt32LE(head.length - 1_024, 0x248)
  head.writeUInt32LE(payload.length, 0x24c)
  const path = join(folder, 'vmlinuz')
  writeFileSync(path, Buffer.concat([head, payload, Buffer.alloc(100)]))
  return path
}

test.each([
  ['LZ4, as Debian does', () => execFileSync('lz4', ['-l', '-c', '-q'], { input: ELF })], ['Zstandard, as Ubuntu does', () => zstdCompressSync(ELF)], ['gzip', () => gzipSync(ELF)],
])('a kernel that is compressed by %s is unpacked to its ELF file', async (_name, compress) => {
  await extractVmlinux(bzImage(compress()), join(folder, 'vmlinux'))
  expect(readFileSync(join(folder, 'vmlinux')).equals(ELF)).toBe(true)
})

test.each([
  ['is compressed in another way', () => bzImage(Buffer.from('fd377a585a00', 'hex')), /compressed in an unknown way \(fd377a585a00\)/],
  ['is cut', () => bzImage(zstdCompressSync(ELF), ELF.length + 1), /unpacks to 500004 bytes that are not the ELF file of 500005/],
  ['holds something else', () => bzImage(zstdCompressSync(Buffer.from('no kernel')), 9), /that are not the ELF file/],
])('a kernel that %s is refused, and nothing is left', async (_name, make, message) => {
  await expect(extractVmlinux(make(), join(folder, 'vmlinux'))).rejects.toMatchObject({ code: 'image_unsupported', message: expect.stringMatching(message) })
  expect(existsSync(join(folder, 'vmlinux'))).toBe(false)
})

test('a file that is no kernel is refused', async () => {
  writeFileSync(join(folder, 'file'), Buffer.alloc(2_000))
  await expect(extractVmlinux(join(folder, 'file'), join(folder, 'vmlinux'))).rejects.toThrow(/is no bzImage/)
})
