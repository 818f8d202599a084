import { offeredDrivers } from '@swarm/runner/drivers/select.ts'
import { whyNotTested } from '@swarm/runner/drivers/firecracker/testing.ts'
import { describe, test } from 'vitest'

/** One suite for every driver that isolates; one that cannot run here is skipped, and its reason said. */
export async function eachIsolatingDriver(suite: (driver: string) => void): Promise<void> {
  for (const { name, usable, detail } of offeredDrivers()) {
    if (name === 'process') continue
    const reason = name === 'firecracker' ? await whyNotTested() : usable ? null : detail
    describe(name, () => {
      if (reason === null) suite(name)
      else test('is attacked from inside', ({ skip }) => { skip(true, reason) })
    })
  }
}
