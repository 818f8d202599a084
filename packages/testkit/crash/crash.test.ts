import { expect, test } from 'vitest'
import { crashWalk } from './walk.ts'

/*
 * A sample of the walk: `npm run crash-walk` takes every boundary. Which ones are taken moves by one with each day, so that
 * runs together take all; the output says which. Approval and merge are always among those of the server.
 */
const EVERY = { server: 24, runner: 24 } as const
/** From the decision to the end of the merge. */
const DECISION_AND_MERGE = /approval:resolved|update-ref|change:merged/

for (const victim of ['server', 'runner'] as const) {
  test(`a ${victim} that is killed between any two steps of an attempt, its approval or its merge goes on to a merge, once, and every invariant holds`, async () => {
    const from = 1 + Math.floor(Date.now() / 86_400_000) % EVERY[victim]
    const walk = await crashWalk({ victim, every: EVERY[victim], from, ...(victim === 'server' ? { always: DECISION_AND_MERGE } : {}) })
    process.stdout.write(`${victim}: killed at ${walk.walked.join(', ')} of ${walk.boundaries} boundaries (every ${EVERY[victim]}th from ${from})\n`)
    expect(walk.failures).toEqual([])
    expect(walk.walked.length).toBeGreaterThan(0)
  }, 1_800_000)
}
