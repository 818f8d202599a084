import type { VmStats } from '../drivers/driver.ts'
import type { GuestConnection } from './guest-connection.ts'

/** A process of a VMM that has loaded a template, or a fork, and stands still, to become a microVM: what drivers give, and all that differs between them. */
export interface VmmSlot {
  /** Of the record in the journal, `swarm-slot-…`. */
  readonly name: string
  /** Of the VMM on this host. */
  readonly pid: number
  readonly scratchDisk: string
  /** Its guest has that disk mounted already: a fork, which goes on where another one was. */
  readonly mounted?: boolean
  /** Resolves when the VMM is over, however that came; the words are for people. */
  readonly exited: Promise<string>
  /** Lets the guest run for the first time: all that a restore asks of the VMM. */
  wake(): Promise<void>
  /** @returns the channel of its guest, which runs, after the hello */
  connect(vmId: string): Promise<GuestConnection>
  /** What the VMM says that it does, in the words of QEMU's `query-status`: `running`, `paused`, … */
  state(): Promise<string>
  pause(): Promise<void>
  resume(): Promise<void>
  /** What only this VMM can tell of a running guest. */
  vmmStats?(): Promise<Partial<VmStats>>
  /** What the guest's console said since the last call, as far as that is kept. */
  readonly readConsole?: () => Promise<string>
  /** Removes process, files, cgroups and the record. Idempotent. */
  release(cgroups: readonly string[]): Promise<void>
}
