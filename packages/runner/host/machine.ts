import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { cpus, release } from 'node:os'
import { run } from './run.ts'

/** What a saved microVM depends on: it is of no use on another machine or under another VMM. */
export interface MachineFacts { cpuModel: string; kernelRelease: string; bootId: string; qemuVersion: string }

/** Of the first CPU, with a digest of what it can do: hypervisors hide features of the same model. */
export function readCpuModel(): string {
  const flags = /^flags\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? ''
  return `${cpus()[0]?.model ?? 'unknown'} ${createHash('sha256').update(flags).digest('hex').slice(0, 12)}`
}

export async function readMachine(qemu: string): Promise<MachineFacts> {
  const version = await run([qemu, '--version'])
  return {
    cpuModel: readCpuModel(),
    kernelRelease: release(),
    bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
    qemuVersion: version.stdout.split('\n')[0] ?? 'unknown',
  }
}
