import { closeSync, openSync, readSync } from 'node:fs'
import type { VmStats } from '../driver.ts'

type Disk = NonNullable<VmStats['disk']>

/**
 * Sums up the file that Firecracker writes its metrics to: a line of JSON at each flush (every minute, and when asked), whose counters
 * are what came since the line before.
 */
export function readMetrics(path: string): { disk(): Disk } {
  const disk: Disk = { readBytes: 0, writtenBytes: 0, throttled: 0 }
  let offset = 0
  let pending = ''
  return {
    disk() {
      const file = openSync(path, 'r')
      try {
        const chunk = Buffer.alloc(64 * 1024)
        for (let length = readSync(file, chunk, 0, chunk.length, offset); length > 0; length = readSync(file, chunk, 0, chunk.length, offset)) {
          offset += length
          const lines = (pending + chunk.toString('latin1', 0, length)).split('\n')
          pending = lines.pop() ?? ''
          for (const line of lines) add(disk, line)
        }
      } finally {
        closeSync(file)
      }
      return { ...disk }
    },
  }
}

/** `block` is the sum over the drives. */
function add(disk: Disk, line: string): void {
  const block: unknown = line.trim() === '' ? null : (JSON.parse(line) as { block?: unknown }).block
  if (typeof block !== 'object' || block === null) return
  const count = (name: string) => {
    const value = (block as Record<string, unknown>)[name]
    return typeof value === 'number' ? value : 0
  }
  disk.readBytes += count('read_bytes')
  disk.writtenBytes += count('write_bytes')
  disk.throttled += count('rate_limiter_throttled_events')
}

/** @param statistics the answer to GET /balloon/statistics; what the guest's driver did not give is missing in it */
export function guestMemory(statistics: unknown): VmStats['guestMemory'] {
  if (typeof statistics !== 'object' || statistics === null || !('total_memory' in statistics)) return undefined
  const bytes = (name: string) => {
    const value = (statistics as Record<string, unknown>)[name]
    return typeof value === 'number' ? value : 0
  }
  return { totalBytes: bytes('total_memory'), availableBytes: bytes('available_memory'), freeBytes: bytes('free_memory'), cachesBytes: bytes('disk_caches') }
}
