import type { Duplex, Readable } from 'node:stream'
import type { ExecExit } from '@swarm/contract/guest-protocol.ts'
import type { VmEndReason } from '@swarm/contract/runner-protocol.ts'
import type { BuildProgress, Image } from '../images/image.ts'

export interface VmSize {
  vcpus: number
  memoryMb: number
  /** Size of the scratch disk (/work, /tmp, /root), MB of 2^20; a sparse file on the host. */
  scratchMb: number
}

export interface VmLimits {
  /** Host CPU time, in cores: 0.5 is half a core. */
  cpuShare?: number
  /** Processes and threads in the guest. */
  pids?: number
  /** The microVM is killed this many ms after it was restored. */
  wallMs?: number
  /** Bytes that may leave the guest by forwards; more is refused. */
  egressBytes?: number
}

export interface ExecOptions {
  argv: string[]
  /** Absolute; /work by default. */
  cwd?: string
  /** Added to the guest's own (PATH, HOME, proxy variables). */
  env?: Record<string, string>
  stdin?: string | Uint8Array | Readable
  /** The process group is killed after this many ms; the exit says timedOut. */
  timeoutMs?: number
  correlationId?: string
  /** A promise holds the process up until it is kept: no more of its output is taken than the channel has room for. */
  onStdout?(chunk: Uint8Array): unknown
  onStderr?(chunk: Uint8Array): unknown
  /** Kills the process group; exec then rejects with the signal's reason. */
  signal?: AbortSignal
  /** stdout and stderr together, 16 MiB by default; what is beyond is thrown away, and `truncated` says so. */
  maxOutputBytes?: number
  /** Of each, only so many of the last bytes are given in the result, for a program whose output is read as it comes; all unless given. */
  keptBytes?: number
}

export type ExecResult = ExecExit & { stdout: string; stderr: string; truncated: boolean }

export interface VmEnd {
  /** Only `disposed` and `killed` were asked for. */
  reason: Exclude<VmEndReason, 'restore failed'>
  detail: string
}

export interface VmStats {
  /** CPU time used on the host since its process began, ms; with the process driver, by the execs that run now. */
  cpuMs: number
  /** Resident and proportional memory of the VMM on the host (clones share their template's pages). */
  rssBytes: number
  pssBytes: number
  /** Of these, what is its alone and gone for others: pages that it has written. */
  privateBytes: number
  /** What the scratch disk (with the process driver, its folder) takes on the host's disk. */
  scratchBytes: number
  /** Bytes of forwards that left the guest. */
  egressBytes: number
  openForwards: number
  uptimeMs: number
  /** Memory as the guest itself tells it, bytes; an indication, since a guest may lie. Only of a VMM with a balloon device (Firecracker). */
  guestMemory?: { totalBytes: number; availableBytes: number; freeBytes: number; cachesBytes: number }
  /** What the VMM has read from and written to the disks since the restore, and how often it made the guest wait for a rate limit. Only where it says so (Firecracker). */
  disk?: { readBytes: number; writtenBytes: number; throttled: number }
}

export interface Vm extends AsyncDisposable {
  readonly id: string
  readonly driver: VmDriver['name']
  readonly templateKey: string
  /** When it was restored, ms since the epoch. */
  readonly startedMs: number
  /** From the call of restore until its VMM let it run. */
  readonly vmmMs: number
  /** From the call of restore to the acknowledgement of clock, randomness and scratch disk. */
  readonly restoreMs: number
  /** Where the repository is checked out, as processes in the VM see it. */
  readonly workspace: string
  /** Path of the agent program, as processes in the VM see it. */
  readonly agentProgram: string
  /**
   * Runs a process to its end.
   * @throws DomainError vm_ended when the VM is or gets over, invalid_input for a request that cannot be sent
   */
  exec(options: ExecOptions): Promise<ExecResult>
  /** Who gets the connections that processes in the VM make to their proxy. Without a handler they are refused. */
  onForward(handler: (stream: Duplex) => void): void
  readonly ended: Promise<VmEnd>
  /** @throws DomainError vm_ended */
  stats(): Promise<VmStats>
  /** The guest stands still, and so do its clocks. Whoever watches its health must not take that for a fault. */
  readonly paused: boolean
  pause(): Promise<void>
  /** Comes back when the guest runs again, with its clock set right. */
  resume(): Promise<void>
  /** What its console said since the last call, as far as that is kept (64 KiB); of a driver that has one. */
  readConsole?(): Promise<string>
  kill(reason: string): Promise<void>
  /**
   * Stops the guest for good and copies its scratch disk, sparsely, to this path of the host. The file system must have been made
   * read-only in the guest before. Not there with a driver whose microVMs have no disk of their own.
   */
  saveScratch?(path: string): Promise<void>
}

export interface Template {
  /** SHA-256 (hex) of kernel, image, size, guest bundle, protocol version, VMM version and host CPU. */
  readonly key: string
  /** Null for a driver that runs nothing of its own (`process`). */
  readonly image: Image | null
  readonly size: VmSize
  readonly directory: string
  readonly builtAtMs: number
}

export interface RestoreOptions {
  id: string; limits: VmLimits; correlationId: string
  /** A scratch disk to start from, of the template's size, made by `saveScratch`; an empty one unless given. */
  scratch?: string
  /** PEM of the authority that its egress proxy ends TLS under: what runs in it trusts that. */
  authority?: string
}

/** One way of running microVMs. Get one by `selectDriver`. */
export interface VmDriver extends AsyncDisposable {
  readonly name: 'firecracker' | 'qemu' | 'process'
  /** Whether what runs in its VMs is kept from the host. */
  readonly isolates: boolean
  /** Limits that this host cannot enforce, with the reason; to be shown, never ignored. */
  readonly unenforced: readonly string[]
  /** Whether its microVMs can start from a disk (RestoreOptions.scratch) and save theirs. */
  readonly savesScratch?: boolean
  /** From the cache, or booted now. */
  buildTemplate(image: Image | null, size: VmSize, onProgress?: (progress: BuildProgress) => void): Promise<Template>
  /** Comes back when the guest has acknowledged clock, randomness, machine id, host name and scratch disk. */
  restore(template: Template, options: RestoreOptions): Promise<Vm>
  /** Ids of the microVMs that it has now. */
  live(): readonly string[]
  /** Memory of the host that a microVM may take for good besides its guest's, bytes; 0 unless given. */
  readonly overheadBytes?: number
  /** Ends the processes that wait for restores: their memory is needed for work. */
  letGo?(): Promise<void>
  /**
   * MicroVMs that go on from where this one is: what runs in it runs in each, with a scratch disk, ids, clock and kernel randomness of its
   * own, and with no connection to the outside. This one stands still meanwhile and then goes on. All of them, or none.
   * Absent where the driver cannot; `forkProblem` says why.
   * @throws DomainError vm_ended, vm_refused while it is paused, vm_start_failed
   */
  fork?(vm: Vm, children: readonly RestoreOptions[]): Promise<Vm[]>
  readonly forkProblem?: string
}
