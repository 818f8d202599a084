import { mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Config } from '@swarm/contract/config.ts'
import { volatileFolder } from '../vms/templates.ts'
import { createAdmission, type Admission, type AdmissionOptions } from './admission.ts'
import { readHostRoom } from './room.ts'

const MB = 1024 ** 2
/** A process that waits takes 35 MB, and its microVM more as soon as it is used: none is started for less. */
const WARM_BYTES = 256 * MB

/** Admission to this host by its settings: scratch disks in the home folder, templates in memory. */
export function createHostAdmission(settings: Pick<Config, 'home' | 'cache' | 'vm'>, options: Pick<AdmissionOptions, 'relieve'> = {}): Admission & { mayWarm(): boolean } {
  const folders = { scratch: join(settings.home, 'runner'), templates: dirname(volatileFolder(settings.cache)) }
  mkdirSync(folders.scratch, { recursive: true, mode: 0o700 })
  const { reserveMb, reserveDiskMb, cpuOvercommit } = settings.vm
  const admission = createAdmission({
    ...options, readRoom: () => readHostRoom(folders),
    rules: { memoryReserveBytes: reserveMb * MB, diskReserveBytes: reserveDiskMb * MB, cpuOvercommit },
  })
  return { ...admission, get problem() { return admission.problem }, mayWarm: () => admission.spareMemory(WARM_BYTES) }
}
