import type { VmSize } from '../driver.ts'

/*
 * Every request that this driver sends, as values: method, path and body by Firecracker's API (its OpenAPI file, 1.17, lies in
 * packages/testkit/firecracker, where a test holds each of these against it). Paths of files are those inside the jail.
 */

export interface ApiRequest { readonly method: 'GET' | 'PUT' | 'PATCH'; readonly path: string; readonly body?: object }

/** File names in the root of a jail: the same in each, so that a saved state finds them wherever it is loaded. */
export const JAIL_FILES = {
  apiSocket: 'api.sock', vsock: 'vsock.sock', kernel: 'vmlinux', initrd: 'initrd', root: 'root.erofs', scratch: 'scratch', memory: 'memory', state: 'state',
  log: 'log', metrics: 'metrics', console: 'console',
} as const

const inJail = (name: keyof typeof JAIL_FILES) => `/${JAIL_FILES[name]}`

/** Any context id above 2 will do: the vsock of each microVM is its own. */
const GUEST_CID = 3
/** Seconds between two reports of the guest's balloon driver; each wakes the guest. */
const BALLOON_STATISTICS_S = 5
const DRIVES = { root: { drive_id: 'root', is_root_device: true, is_read_only: true }, scratch: { drive_id: 'scratch', is_root_device: false, is_read_only: false } } as const

/** `pci=off`, `i8042.…`: what is not there is not looked for, which takes half of a boot otherwise. */
export const BOOT_ARGUMENTS = 'console=ttyS0 reboot=k panic=-1 quiet loglevel=4 pci=off i8042.noaux i8042.nomux i8042.dumbkbd random.trust_cpu=off swarm.channel=vsock'

export const REQUESTS = {
  version: (): ApiRequest => ({ method: 'GET', path: '/version' }),
  describe: (): ApiRequest => ({ method: 'GET', path: '/' }),
  logger: (): ApiRequest => ({ method: 'PUT', path: '/logger', body: { log_path: inJail('log'), level: 'Info', show_level: true, show_log_origin: false } }),
  metrics: (): ApiRequest => ({ method: 'PUT', path: '/metrics', body: { metrics_path: inJail('metrics') } }),
  serial: (): ApiRequest => ({ method: 'PUT', path: '/serial', body: { serial_out_path: inJail('console') } }),
  machine: ({ vcpus, memoryMb }: VmSize): ApiRequest => ({ method: 'PUT', path: '/machine-config', body: { vcpu_count: vcpus, mem_size_mib: memoryMb, smt: false, track_dirty_pages: false } }),
  bootSource: (): ApiRequest => ({ method: 'PUT', path: '/boot-source', body: { kernel_image_path: inJail('kernel'), initrd_path: inJail('initrd'), boot_args: BOOT_ARGUMENTS } }),
  // The scratch disk ends with its VM: nothing needs to reach the platter.
  drive: (drive: keyof typeof DRIVES): ApiRequest => ({ method: 'PUT', path: `/drives/${drive}`, body: { ...DRIVES[drive], path_on_host: inJail(drive), cache_type: 'Unsafe', io_engine: 'Sync' } }),
  vsock: (): ApiRequest => ({ method: 'PUT', path: '/vsock', body: { guest_cid: GUEST_CID, uds_path: inJail('vsock') } }),
  entropy: (): ApiRequest => ({ method: 'PUT', path: '/entropy', body: {} }),
  /** Empty: it is there for what the guest says of its memory. */
  balloon: (): ApiRequest => ({ method: 'PUT', path: '/balloon', body: { amount_mib: 0, deflate_on_oom: true, stats_polling_interval_s: BALLOON_STATISTICS_S } }),
  start: (): ApiRequest => ({ method: 'PUT', path: '/actions', body: { action_type: 'InstanceStart' } }),
  flushMetrics: (): ApiRequest => ({ method: 'PUT', path: '/actions', body: { action_type: 'FlushMetrics' } }),
  pause: (): ApiRequest => ({ method: 'PATCH', path: '/vm', body: { state: 'Paused' } }),
  resume: (): ApiRequest => ({ method: 'PATCH', path: '/vm', body: { state: 'Resumed' } }),
  save: (): ApiRequest => ({ method: 'PUT', path: '/snapshot/create', body: { snapshot_type: 'Full', snapshot_path: inJail('state'), mem_file_path: inJail('memory') } }),
  /** Its file of memory is mapped privately: clones share its pages, and it must never change. */
  load: (): ApiRequest => ({ method: 'PUT', path: '/snapshot/load', body: { snapshot_path: inJail('state'), mem_backend: { backend_type: 'File', backend_path: inJail('memory') }, resume_vm: false } }),
  /** @param mbPerS MiB a second, read and written together; as much again at once, after a rest */
  limitDrive: (drive: keyof typeof DRIVES, mbPerS: number): ApiRequest => ({
    method: 'PATCH', path: `/drives/${drive}`, body: { drive_id: drive, rate_limiter: { bandwidth: { size: mbPerS * 1024 * 1024, one_time_burst: mbPerS * 1024 * 1024, refill_time: 1_000 } } },
  }),
  balloonStatistics: (): ApiRequest => ({ method: 'GET', path: '/balloon/statistics' }),
} as const
