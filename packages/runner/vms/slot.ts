import type { VmStats } from '../drivers/driver.ts'
import type { GuestConnection } from './guest-connection.ts'

/** A process of a VMM that has loaded a template and stands still, to become a microVM: what drivers give, and all that differs between them. */
export interface VmmSlot {
  /** Of the record in the journal, `swarm-slot-…`. */
  readonly name: string
  /** Of the VMM on this host. */
  readonly pid: number
  readonly scratchDisk: string
  /** Resolves when the VMM is over, however that came; the words are for people. */
  readonly exited: Promise<string>
  /** Lets the guest run. @returns its channel, after the hello */
  wake(vmId: string): Promise<GuestConnection>
  /** What the VMM says that it does, in the words of QEMU's `query-status`: `running`, `paused`, … */
  state(): Promise<string>
  pause(): Promise<void>
  resume(): Promise<void>
  /** What only this VMM can tell of a running guest. */
  vmmStats?(): Promise<Partial<VmStats>>
  /** Removes process, files, cgroups and the record. Idempotent. */
  release(cgroups: readonly string[]): Promise<void>
}
