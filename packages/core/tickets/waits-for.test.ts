import { describe, expect, test } from 'vitest'
import { waitsFor, type WaitFacts } from './waits-for.ts'

const MOVES: WaitFacts = {
  id: 'TKT-1', state: 'ready', holdReason: null, parents: [], retryInMs: null, overloaded: false, attemptIsSaved: false, overlap: null, project: { working: 1, limit: 8 }, installation: { working: 1, limit: 100 },
  runners: [{ name: 'local', noRoom: null }], question: null, budgetApproval: null, change: null, merge: null, check: null,
}
const parent = (state: WaitFacts['state']) => ({ id: 'TKT-2', title: 'Lay the page', state })
const FULL = [{ name: 'local', noRoom: '2.1 GB of memory free, 2.6 GB needed' }]
const check = { id: 'CHK-1', retryInMs: null, failure: null }

describe('one line says why a ticket waits', () => {
  const CASES: [cause: string, facts: Partial<WaitFacts>, line: string | null][] = [
    ['nothing but room', {}, 'a free microVM'],
    ['a parent that is worked on', { parents: [parent('in_progress')] }, 'TKT-2 (Lay the page), in_progress to be merged'],
    ['a parent that failed', { parents: [parent('failed')] }, 'TKT-2 (Lay the page) to be merged, which failed: swarm ticket why TKT-2'],
    ['a parent that is held', { parents: [parent('ready'), { ...parent('on_hold'), id: 'TKT-3' }] }, 'TKT-3 (Lay the page) to be merged, which is on hold: swarm ticket why TKT-3'],
    ['a parent that was cancelled', { parents: [parent('cancelled')] }, 'TKT-2 (Lay the page), which was cancelled and is never merged: cancel this one too, and create it again without that dependency if it is still wanted'],
    ['many parents', { parents: Array.from({ length: 6 }, () => parent('ready')) }, `${Array.from({ length: 4 }, () => 'TKT-2 (Lay the page), ready').join('; ')} and 2 more to be merged`],
    ['backoff', { retryInMs: 1_500 }, 'its next try in 2 s'],
    ['long backoff', { retryInMs: 290_000 }, 'its next try in 5 min'],
    ['an overload', { retryInMs: 5_000, overloaded: true }, 'the model API, which is overloaded: its next try in 5 s'],
    ['work that is still saved', { attemptIsSaved: true }, 'its stopped attempt to be saved by the runner that holds it, or for the lease of that to end'],
    ['overlap', { overlap: { ...parent('in_progress'), files: ['src/a.js', 'src/b.js'] } }, 'TKT-2 (Lay the page), in_progress, which is expected to write src/a.js, src/b.js as well'],
    ['its project at its limit', { project: { working: 8, limit: 8 } }, 'one of the 8 tickets that its project works on: 8 at once are allowed'],
    ['the installation at its limit', { installation: { working: 100, limit: 100 } }, 'one of the 100 tickets that are worked on: 100 at once are allowed'],
    ['no runner', { runners: [] }, 'a runner: none is online (swarm runner list)'],
    ['the same after changes were asked for', { state: 'changes_requested', runners: [] }, 'a runner: none is online (swarm runner list)'],
    ['room on the only host', { runners: FULL }, 'room for a microVM: host local has room for no further one (2.1 GB of memory free, 2.6 GB needed)'],
    ['a free microVM on the other host', { runners: [...FULL, { name: 'other', noRoom: null }] }, 'a free microVM'],
    ['room for its checks', { state: 'verifying', check, runners: FULL }, 'room for a microVM for its checks CHK-1: host local has room for no further one (2.1 GB of memory free, 2.6 GB needed)'],
    ['a question', { state: 'on_hold', holdReason: 'an agent asks: Which?', question: { id: 'QST-1', text: 'Which?' } }, 'an answer to QST-1 (Which?): swarm question answer QST-1 "…"'],
    ['budget', { state: 'on_hold', holdReason: 'the budget is used up', budgetApproval: 'APR-1' }, 'the decision about the budget: swarm approval show APR-1'],
    ['failures used up', { state: 'on_hold', holdReason: '3 attempts failed (agent); last: command_failed' }, 'a person: 3 attempts failed (agent); last: command_failed'],
    ['its checks, queued', { state: 'verifying', check }, 'a free runner for its checks CHK-1'],
    ['its checks, without a runner', { state: 'verifying', check, runners: [] }, 'a runner for its checks CHK-1: none is online'],
    ['its checks, after a fault', { state: 'verifying', check: { ...check, retryInMs: 4_000, failure: 'vm_crashed' } }, 'the next try of its checks CHK-1 in 4 s (last: vm_crashed)'],
    ['its checks, under way', { state: 'verifying' }, null],
    ['review', { state: 'in_review', change: { id: 'CHG-1', approval: 'APR-2' } }, 'the decision about its change CHG-1: swarm approval show APR-2'],
    ['its agent reviewer', { state: 'in_review', change: { id: 'CHG-1', approval: null, reviewer: '' } }, 'the agent reviewer of its change CHG-1'],
    ['its agent reviewer, after a fault', { state: 'in_review', change: { id: 'CHG-1', approval: null, reviewer: 'its next try, after an overload' } }, 'the agent reviewer of its change CHG-1, which waits for its next try, after an overload'],
    ['its turn', { state: 'merging', merge: { position: 3, paused: null } }, 'its turn in the merge queue (2 before it)'],
    ['a paused queue', { state: 'merging', merge: { position: 1, paused: 'main itself does not pass its checks' } }, 'the merge queue, which is paused: main itself does not pass its checks'],
    ['the checks of its merge', { state: 'merging', merge: { position: 1, paused: null }, check }, 'a free runner for its checks CHK-1'],
    ['nothing: it is merged right now', { state: 'merging', merge: { position: 1, paused: null } }, null],
    ['nothing: it is worked on', { state: 'in_progress' }, null],
    ['nothing: it is done', { state: 'done' }, null],
  ]
  test.each(CASES)('for %s', (_, facts, line) => {
    expect(waitsFor({ ...MOVES, ...facts })).toBe(line)
  })

  test('what never comes by itself is said before what does', () => {
    expect(waitsFor({ ...MOVES, parents: [parent('in_progress'), parent('cancelled')], retryInMs: 5, runners: [] })).toContain('cancelled')
  })
})
