import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { DomainError } from '@swarm/core/errors.ts'
import { findTool } from './tools.ts'

/*
 * Debian and Ubuntu ship the kernel as a bzImage: a loader with the ELF file compressed in it. Firecracker takes the ELF file alone.
 * Offsets are those of Documentation/arch/x86/boot.rst; the compressed payload ends with the size of what it unpacks to, u32 LE.
 */

const COMPRESSIONS = [{ name: 'lz4', magic: '02214c18' }, { name: 'zstd', magic: '28b52ffd' }, { name: 'gzip', magic: '1f8b' }] as const
const ELF_MAGIC = '7f454c46'
const SECTOR_BYTES = 512

/**
 * Unpacks the ELF file of a kernel, about 50 MB.
 * @throws DomainError image_unsupported when the kernel is no such file, or is compressed in another way
 */
export async function extractVmlinux(vmlinuz: string, to: string): Promise<void> {
  const image = readFileSync(vmlinuz)
  const refuse = (problem: string) => new DomainError('image_unsupported', { problem: `the kernel ${vmlinuz} ${problem}` })
  if (image.subarray(0x202, 0x206).toString('latin1') !== 'HdrS' || image.readUInt16LE(0x206) < 0x208) throw refuse('is no bzImage')
  const start = ((image.readUInt8(0x1f1) || 4) + 1) * SECTOR_BYTES + image.readUInt32LE(0x248)
  const payload = image.subarray(start, start + image.readUInt32LE(0x24c))
  const bytes = payload.readUInt32LE(payload.length - 4)
  const compression = COMPRESSIONS.find(({ magic }) => payload.toString('hex', 0, magic.length / 2) === magic)
  if (compression === undefined) throw refuse(`is compressed in an unknown way (${payload.toString('hex', 0, 6)})`)
  if (compression.name === 'gzip') writeFileSync(to, gunzipSync(payload))
  else if (compression.name === 'zstd') writeFileSync(to, zstdDecompressSync(payload.subarray(0, -4)))
  else await unpackLz4(payload.subarray(0, -4), to)
  const elf = readFileSync(to)
  if (elf.toString('hex', 0, 4) === ELF_MAGIC && elf.length === bytes) return
  rmSync(to, { force: true })
  throw refuse(`unpacks to ${elf.length} bytes that are not the ELF file of ${bytes} that it names`)
}

async function unpackLz4(payload: Buffer, to: string): Promise<void> {
  const child = spawn(findTool('lz4') ?? 'lz4', ['-d', '-q', '-f', '-', to], { stdio: ['pipe', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => { said += chunk.toString('utf8') })
  child.stdin.on('error', () => child.stdin.destroy()) // it may end before it has read all: its exit says so
  child.stdin.end(payload)
  const [code] = await once(child, 'close') as [number | null]
  if (code !== 0) throw new DomainError('image_build_failed', { step: 'lz4', output: said.trim() })
}
