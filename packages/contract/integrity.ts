import type { PriceTable } from '@swarm/core/budgets/prices.ts'
import { z } from 'zod'

/*
 * What the checker of an installation finds. I1…I10 are the promises of docs/reliability.md; each rule of core/integrity
 * belongs to one of them.
 */

export const INVARIANTS = ['I1', 'I2', 'I3', 'I4', 'I5', 'I6', 'I7', 'I8', 'I9', 'I10'] as const
export const Invariant = z.enum(INVARIANTS)
export type Invariant = z.infer<typeof Invariant>

/** One broken promise, about one thing. */
export const Violation = z.object({
  invariant: Invariant,
  /** What it is about: `{kind: 'ticket', id: 'TKT-…'}`; a ref or a process is named by its path or pid. */
  subject: z.object({ kind: z.string(), id: z.string() }),
  message: z.string(),
  /** The values that contradict each other. */
  evidence: z.record(z.string(), z.unknown()),
  /** Whether `--repair` can mend it without deciding anything. */
  repairable: z.boolean(),
})
export type Violation = z.infer<typeof Violation>

/** How many things of each kind were looked at. */
export const Checked = z.object({
  tickets: z.number(), attempts: z.number(), changes: z.number(), approvals: z.number(), modelCalls: z.number(), events: z.number(),
  refs: z.number(), mainValues: z.number(), processes: z.number(),
})
export type Checked = z.infer<typeof Checked>

/** One thing that `--repair` did or left alone. */
export const Repair = z.object({ invariant: Invariant, subject: Violation.shape.subject, done: z.boolean(), what: z.string() })
export type Repair = z.infer<typeof Repair>

export const IntegrityReport = z.object({ ok: z.boolean(), violations: z.array(Violation), checked: Checked, live: z.boolean(), repairs: z.array(Repair).optional() })
export type IntegrityReport = z.infer<typeof IntegrityReport>

/** What is checked, and what the caller knows about it. */
export interface CheckInput {
  /** SWARM_HOME. */
  readonly home: string
  /** postgres://…; the SQLite file of `home` unless given. */
  readonly databaseUrl?: string | undefined
  /** JSON lines of what the model served; `<home>/logs/rehearsal.jsonl` unless given, when it is there. */
  readonly modelLog?: string | undefined
  /** What models cost, with the configuration's own rows; the built-in table unless given. */
  readonly prices?: PriceTable | undefined
  /**
   * True when nothing is in flight any more: what follows the database after a moment (branches, leases, dead calls) must
   * have followed. False: it has 30 s.
   */
  readonly settled: boolean
  /** Where jails of microVMs are found by (SWARM_CACHE); they are not looked at unless given. */
  readonly cache?: string | undefined
  /** Whether a server runs on it now; found by the run file of `home` unless given. */
  readonly live?: boolean | undefined
}

/** What a host finds of microVMs, for I6: packages/runner/vms/audit.ts. */
export const HostAudit = z.object({
  leftovers: z.array(z.object({
    /** process | cgroup | folder | record */
    kind: z.string(),
    /** Pid or path. */
    id: z.string(),
    slot: z.string(), vmId: z.string().nullable(),
    /** Since when its owner is gone, or the thing exists without one; ms since the epoch. */
    sinceMs: z.number(),
    problem: z.string(),
    /** Whether a record of a dead runner names it, so that reclaiming takes it away. */
    recorded: z.boolean(),
  })),
  /** Ids of microVMs whose owner lives. */
  liveVms: z.array(z.string()),
  /** Processes that were looked at. */
  processes: z.number(),
})
export type HostAudit = z.infer<typeof HostAudit>
