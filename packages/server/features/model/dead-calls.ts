import type { Duty } from '../../coordinator/duty.ts'
import type { ModelGateway } from './gateway.ts'

/** Settles model calls that a replica which is gone left open; without it their reservations would hold a ceiling for ever. */
export function deadCallsDuty(gateway: Pick<ModelGateway, 'settleDead'>): Duty {
  return {
    name: 'dead model calls',
    // One look settles all there are; the coordinator's slow poll is often enough.
    run: async () => {
      await gateway.settleDead()
      return false
    },
  }
}
