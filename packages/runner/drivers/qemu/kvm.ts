import { spawn } from 'node:child_process'
import { accessSync, constants, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { digestOf } from '../../images/inputs.ts'
import type { Image } from '../../images/image.ts'
import type { MachineFacts } from '../../host/machine.ts'
import { MACHINES } from './arguments.ts'

/** A real kernel boots in about a second on working KVM. */
const PROBE_TIMEOUT_MS = 10_000

export interface KvmProbe { works: boolean; detail: string }

/**
 * Whether KVM boots a kernel here: /dev/kvm may exist and never get one up (a paravirtual host), so one is booted, once per
 * machine, kernel and VMM; the answer is kept in the cache.
 */
export async function probeKvm(cache: string, machine: MachineFacts, image: Image, qemu: string): Promise<KvmProbe> {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK)
  } catch {
    return { works: false, detail: '/dev/kvm is not there or may not be used' }
  }
  const { bootId: _, ...lasting } = machine
  const path = join(cache, 'probes', `kvm-${digestOf(JSON.stringify([lasting, image.kernelVersion])).slice(0, 16)}.json`)
  const known = readProbe(path)
  if (known !== null) return known
  const probe = await bootOnce(image, qemu)
  mkdirSync(join(cache, 'probes'), { recursive: true })
  writeFileSync(path, JSON.stringify(probe))
  return probe
}

function bootOnce(image: Image, qemu: string): Promise<KvmProbe> {
  const startedAt = performance.now()
  const child = spawn(qemu, ['-name', 'swarm-kvm-probe', '-machine', MACHINES.kvm, '-accel', 'kvm', '-cpu', 'host', '-m', '256M', '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot',
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
  const timer = setTimeout(() => child.kill('SIGKILL'), PROBE_TIMEOUT_MS)
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ works: false, detail: error.message }))
    child.once('close', () => {
      clearTimeout(timer)
      const ms = Math.round(performance.now() - startedAt)
      resolve(up ? { works: true, detail: `a kernel booted in ${ms} ms` } : { works: false, detail: `no kernel booted in ${ms} ms` })
    })
  })
}

function readProbe(path: string): KvmProbe | null {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as KvmProbe
  } catch {
    return null
  }
}
