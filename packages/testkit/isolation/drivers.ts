import { describe } from 'vitest'
import { offeredDrivers } from '@swarm/runner/drivers/select.ts'

/** One suite for every driver that isolates; one that cannot run here is skipped, and its reason said. */
export function eachIsolatingDriver(suite: (driver: string) => void): void {
  for (const { name, usable, detail } of offeredDrivers()) {
    if (name === 'process') continue
    if (usable) describe(name, () => { suite(name) })
    else describe.skip(`${name} (${detail})`, () => { suite(name) })
  }
}
