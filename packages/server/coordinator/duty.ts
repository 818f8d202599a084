/** One small thing that the coordinator does again and again; safe to run on every replica at once. */
export interface Duty {
  readonly name: string
  /** Does at most one unit of work. Returns true when there may be more. */
  run(signal: AbortSignal): Promise<boolean>
  /** When to look again without being woken, ms since the epoch, or null: a timer that lives in the database. */
  nextAt?(): Promise<number | null>
}
