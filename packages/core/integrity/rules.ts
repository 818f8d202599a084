import { approvalsAreKept } from './approvals.ts'
import { compareWithTables } from './compare.ts'
import type { Facts, Finding, InvariantId } from './facts.ts'
import { mainWasAlwaysChecked, oneBranchEach, workIsKept } from './git.ts'
import { moneyIsRight } from './money.ts'
import type { Replay } from './replay.ts'
import { nothingOutlives } from './resources.ts'
import { oneWriter, ticketsCanMove } from './tickets.ts'

const order = (invariant: InvariantId): number => Number(invariant.slice(1))

/** Every broken promise of I1…I10, sorted; none for a sound installation. I8 and parts of I2, I7 and I9 are found while the events are replayed. */
export function judge(facts: Facts, replay: Replay): Finding[] {
  return [
    ...ticketsCanMove(facts), ...oneWriter(facts), ...oneBranchEach(facts), ...mainWasAlwaysChecked(facts), ...workIsKept(facts, replay),
    ...nothingOutlives(facts), ...moneyIsRight(facts), ...replay.findings, ...compareWithTables(replay, facts), ...approvalsAreKept(facts, replay),
  ].toSorted((a, b) => order(a.invariant) - order(b.invariant))
}
