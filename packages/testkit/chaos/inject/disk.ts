import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { lasting, type Inject } from './site.ts'

/** Fills the file system of the home and takes the filler away again; seen when a write there ended with ENOSPC. */
export const DISK_FAULTS = {
  async 'disk-full'(fault, { installation, signal }) {
    if (installation.unbounded !== null) throw new Error(installation.unbounded)
    const filler = join(installation.home, 'chaos-filler')
    try {
      const observed = await fill(filler) ? { at: Date.now() } : null
      await lasting(fault.forMs, signal)
      return observed
    } finally {
      rmSync(filler, { force: true })
    }
  },
} satisfies Record<string, Inject>

/** Writes until the file system takes no more. @returns whether it was for want of space that it ended */
async function fill(path: string): Promise<boolean> {
  const writer = spawn('dd', ['if=/dev/zero', `of=${path}`, 'bs=256K'], { stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C' } })
  let said = ''
  writer.stderr.setEncoding('utf8').on('data', (text: string) => { said += text })
  await once(writer, 'close')
  return said.includes('No space left on device')
}
