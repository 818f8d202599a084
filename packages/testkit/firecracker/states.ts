/*
 * The order that Firecracker holds its callers to: which operation is allowed in which state, and what it leads to. A fresh process
 * takes a logger, metrics, and either the parts of a machine or a snapshot, never both.
 */

export type State = 'fresh' | 'configured' | 'running' | 'paused'

interface Rule {
  readonly in: readonly State[]
  readonly to?: State
  /** Operations that must have come before. */
  readonly after?: readonly string[]
  /** May come once. */
  readonly once?: true
  /** Refused, it ends the process: its state may be half of a snapshot. */
  readonly fatal?: true
}

const BEFORE_BOOT = ['fresh', 'configured'] as const
const AFTER_BOOT = ['running', 'paused'] as const

/** By operationId of firecracker.yaml; actions and states by their value behind it. */
export const RULES = {
  'getFirecrackerVersion': { in: [...BEFORE_BOOT, ...AFTER_BOOT] },
  'describeInstance': { in: [...BEFORE_BOOT, ...AFTER_BOOT] },
  'putLogger': { in: BEFORE_BOOT, once: true },
  'putMetrics': { in: BEFORE_BOOT, once: true },
  'putSerialDevice': { in: BEFORE_BOOT, to: 'configured' },
  'putMachineConfiguration': { in: BEFORE_BOOT, to: 'configured' },
  'putGuestBootSource': { in: BEFORE_BOOT, to: 'configured' },
  'putGuestDriveByID': { in: BEFORE_BOOT, to: 'configured' },
  'putGuestVsock': { in: BEFORE_BOOT, to: 'configured' },
  'putEntropyDevice': { in: BEFORE_BOOT, to: 'configured' },
  'putBalloon': { in: BEFORE_BOOT, to: 'configured' },
  'createSyncAction:InstanceStart': { in: ['configured'], to: 'running', after: ['putGuestBootSource'] },
  'createSyncAction:FlushMetrics': { in: AFTER_BOOT, after: ['putMetrics'] },
  'patchVm:Paused': { in: AFTER_BOOT, to: 'paused' },
  'patchVm:Resumed': { in: AFTER_BOOT, to: 'running' },
  'createSnapshot': { in: ['paused'] },
  'loadSnapshot': { in: ['fresh'], to: 'paused', fatal: true },
  'patchGuestDriveByID': { in: AFTER_BOOT },
  'describeBalloonStats': { in: AFTER_BOOT },
} as const satisfies Record<string, Rule>

export interface StateMachine {
  readonly state: State
  /** @returns why an operation may not come now, or null; nothing changes */
  refusal(operation: string): string | null
  /** After it was carried out. */
  done(operation: string): void
}

export function createStateMachine(): StateMachine {
  let state: State = 'fresh'
  const seen = new Set<string>()
  const ruleOf = (operation: string): Rule | undefined => (RULES as Record<string, Rule>)[operation]
  return {
    get state() { return state },
    refusal(operation) {
      const rule = ruleOf(operation)
      if (rule === undefined) return `${operation} is not among the operations of this model`
      if (!rule.in.includes(state)) return `${operation} is not allowed in state ${state}`
      const missing = rule.after?.find((each) => !seen.has(each))
      if (missing !== undefined) return `${operation} needs ${missing} before it`
      return rule.once === true && seen.has(operation) ? `${operation} may come once` : null
    },
    done(operation) {
      seen.add(operation)
      state = ruleOf(operation)?.to ?? state
    },
  }
}

/** Its name in the table: actions and states are told apart by what they ask for. */
export function operationName(operationId: string, body: unknown): string {
  const value = typeof body === 'object' && body !== null ? (operationId === 'createSyncAction' && 'action_type' in body ? body.action_type : operationId === 'patchVm' && 'state' in body ? body.state : undefined) : undefined
  return value === undefined ? operationId : `${operationId}:${String(value)}`
}

export const isFatal = (operation: string): boolean => (RULES as Record<string, Rule>)[operation]?.fatal === true
