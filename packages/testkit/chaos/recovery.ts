import type { Area } from './schedule.ts'

export interface LoggedEvent { readonly type: string; readonly at: number; readonly data: Readonly<Record<string, unknown>> }

/**
 * Which events show that what was hit works again. For a runner, its link and its microVMs: a step of its work, or a ticket
 * that moved (by a report, or since the engine took the work back). For a model: a call that was answered.
 */
const PROGRESS: Record<Area, (event: LoggedEvent) => boolean> = {
  'runner': ofWork, 'runner link': ofWork, 'guest': ofWork,
  'model': ofModel, 'model link': ofModel,
  'server': () => true, 'disk': () => true, 'people': (event) => event.type === 'ticket:update',
}

function ofWork({ type }: LoggedEvent): boolean {
  return type === 'ticket:progress' || type === 'ticket:update' || type === 'check:update' || type === 'vm:update'
}
function ofModel({ type, data }: LoggedEvent): boolean {
  return type === 'model:call' && (data['status'] === 200 || data['state'] === 'settled')
}

/** Time from the observation of each fault to the first event of the log that shows progress, ms; null: there was none. */
export function recoveries(observed: readonly { readonly area: Area; readonly at: number }[], events: readonly LoggedEvent[]): (number | null)[] {
  return observed.map(({ area, at }) => {
    const next = events.find((event) => event.at > at && PROGRESS[area](event))
    return next === undefined ? null : next.at - at
  })
}

/** @returns null for an empty list */
export function percentile(values: readonly number[], share: number): number | null {
  const sorted = [...values].toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? null
}
