import { spawn } from 'node:child_process'
import { accessSync, constants, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { digestOf } from '../../images/inputs.ts'
import type { Image } from '../../images/image.ts'
import { readJson } from '../../images/read-json.ts'
import { findTool } from '../../images/tools.ts'
import type { MachineFacts } from '../../host/machine.ts'
import { MACHINES } from './arguments.ts'

/** A real kernel boots in about a second on working KVM. */
const PROBE = { device: '/dev/kvm', timeoutMs: 10_000 } as const
/** A probe that was ended before it said anything is made again after this time: the machine may have been busy. Where KVM hangs, that costs the time limit each time. */
const RETRY_MS = 600_000

export interface KvmProbe { works: boolean; detail: string }
/** `endedAtMs`: when it was ended, by the time limit or otherwise from outside; null when QEMU itself gave the answer. */
const Kept = z.object({ works: z.boolean(), detail: z.string(), endedAtMs: z.number().nullable() })
type Kept = z.infer<typeof Kept>

/**
 * Whether KVM boots a kernel here: /dev/kvm may exist and never get one up (a paravirtual host), so one is booted, once per
 * machine, kernel and VMM; the answer is kept in the cache, for some minutes where the boot was only not finished in time.
 */
export async function probeKvm(cache: string, machine: MachineFacts, image: Image, qemu: string, { device, timeoutMs }: { device: string; timeoutMs: number } = PROBE): Promise<KvmProbe> {
  try {
    accessSync(device, constants.R_OK | constants.W_OK)
  } catch {
    return { works: false, detail: `${device} is not there or may not be used` }
  }
  const { bootId: _, ...lasting } = machine
  const path = join(cache, 'probes', `kvm-${digestOf(JSON.stringify([lasting, image.kernelVersion])).slice(0, 16)}.json`)
  const known = readJson(path, Kept)
  if (known !== null && (known.endedAtMs === null || Date.now() - known.endedAtMs < RETRY_MS)) return { works: known.works, detail: known.detail }
  const probe = await bootOnce(image, qemu, timeoutMs)
  mkdirSync(join(cache, 'probes'), { recursive: true })
  writeFileSync(`${path}.${process.pid}.new`, JSON.stringify(probe))
  renameSync(`${path}.${process.pid}.new`, path)
  return { works: probe.works, detail: probe.detail }
}

function bootOnce(image: Image, qemu: string, timeoutMs: number): Promise<Kept> {
  const startedAt = performance.now()
  // It ends with this process, however that ends.
  const child = spawn(findTool('setpriv') ?? 'setpriv', ['--pdeathsig', 'KILL', '--', qemu, '-name', 'swarm-kvm-probe', '-machine', MACHINES.kvm, '-accel', 'kvm', '-cpu', 'host', '-m', '256M', '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot',
    '-kernel', image.kernel, '-initrd', image.initrd, '-append', 'console=ttyS0 reboot=t panic=-1 quiet swarm.probe', '-serial', 'stdio'], { stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  let up = false
  const collect = (chunk: Buffer) => {
    said = (said + chunk.toString('latin1')).slice(-4_096)
    if (!said.includes('SWARM-PROBE-OK')) return
    up = true
    child.kill('SIGKILL')
  }
  child.stdout.on('data', collect)
  child.stderr.on('data', collect)
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
  return new Promise((resolve) => {
    child.once('error', (error) => {
      clearTimeout(timer)
      resolve({ works: false, detail: error.message, endedAtMs: Date.now() })
    })
    child.once('close', (code) => {
      clearTimeout(timer)
      const ms = Math.round(performance.now() - startedAt)
      resolve(up ? { works: true, detail: `a kernel booted in ${ms} ms`, endedAtMs: null } : { works: false, detail: `no kernel booted in ${ms} ms`, endedAtMs: code === null ? Date.now() : null })
    })
  })
}
