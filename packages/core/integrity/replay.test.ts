import { expect, test } from 'vitest'
import type { EventFact } from './facts.ts'
import { emptyReplay, replayEvent, type Replay } from './replay.ts'

const NOTHING = { parents: new Map<string, string[]>(), firstCaps: new Map<string, number | null>() }
const NO_CAPS = NOTHING.firstCaps

/** Events with their numbers, of which only type, subject and data are given. */
function replayed(events: readonly [type: string, subject: string, data: Record<string, unknown>][], known: Parameters<typeof replayEvent>[2] = NOTHING): Replay {
  const replay = emptyReplay()
  events.forEach(([type, subject, data], index) => {
    const [subjectKind = '', subjectId = ''] = subject.split(' ')
    replayEvent(replay, { seq: index + 1, type, subjectKind, subjectId, data, at: index } satisfies EventFact, known)
  })
  return replay
}
const broken = (replay: Replay): string[] => replay.findings.map(({ invariant, subject }) => `${invariant} ${subject.id}`)

test('a hundred thousand events are replayed, in time that grows with their number', () => {
  const events: [string, string, Record<string, unknown>][] = []
  for (let n = 0; n < 10_000; n++) {
    const [id, attemptId] = [`TKT-${n}`, `ATT-${n}`]
    events.push(['ticket:update', `ticket ${id}`, { from: null, to: 'ready' }], ['ticket:update', `ticket ${id}`, { from: 'ready', to: 'claimed', attemptId, fence: 1 }])
    for (let step = 0; step < 5; step++) events.push(['ticket:activity', `ticket ${id}`, { attemptId, event: {} }])
    events.push(
      ['ticket:update', `ticket ${id}`, { from: 'claimed', to: 'in_progress', fence: 1 }], ['ticket:progress', `ticket ${id}`, { attemptId, fence: 1, from: 'running', to: 'gating' }],
      ['ticket:update', `ticket ${id}`, { from: 'in_progress', to: 'verifying', fence: 1 }],
    )
  }
  const replay = replayed(events)
  expect(replay).toMatchObject({ events: 100_000, findings: [] })
  expect(replay.tickets.get('TKT-9999')).toMatchObject({ state: 'verifying', attempts: 1, fence: 1 })
})

test('an attempt that goes on after a question counts once, under its new fence', () => {
  const replay = replayed([
    ['ticket:update', 'ticket T', { from: null, to: 'ready' }], ['ticket:update', 'ticket T', { from: 'ready', to: 'claimed', attemptId: 'A', fence: 1 }],
    ['ticket:progress', 'ticket T', { attemptId: 'A', fence: 1, from: 'running', to: 'parked' }], ['ticket:update', 'ticket T', { from: 'claimed', to: 'on_hold' }],
    ['ticket:update', 'ticket T', { from: 'on_hold', to: 'ready' }], ['ticket:progress', 'ticket T', { attemptId: 'A', fence: 2, from: 'parked', to: 'running' }],
    ['ticket:update', 'ticket T', { from: 'ready', to: 'claimed', attemptId: 'A', fence: 2 }], ['ticket:activity', 'ticket T', { attemptId: 'A' }],
  ])
  expect(broken(replay)).toEqual([])
  expect(replay.tickets.get('T')).toMatchObject({ attempts: 1, fence: 2, state: 'claimed' })
})

test('a claim while another attempt runs, a fence that does not rise and a write after the end break I2', () => {
  const start: [string, string, Record<string, unknown>][] = [['ticket:update', 'ticket T', { from: null, to: 'ready' }], ['ticket:update', 'ticket T', { from: 'ready', to: 'claimed', attemptId: 'A', fence: 1 }]]
  expect(broken(replayed([...start, ['ticket:update', 'ticket T', { from: 'claimed', to: 'ready' }], ['ticket:update', 'ticket T', { from: 'ready', to: 'claimed', attemptId: 'B', fence: 2 }]]))).toEqual(['I2 B'])
  const ended: [string, string, Record<string, unknown>] = ['ticket:progress', 'ticket T', { attemptId: 'A', fence: 1, from: 'running', to: 'failed' }]
  expect(broken(replayed([...start, ended, ['ticket:update', 'ticket T', { from: 'claimed', to: 'ready' }], ['ticket:update', 'ticket T', { from: 'ready', to: 'claimed', attemptId: 'B', fence: 1 }]]))).toEqual(['I2 T'])
  expect(broken(replayed([...start, ended, ['model:reserved', 'ticket T', { callId: 'C', attemptId: 'A', reservedMicroUsd: 1, sessionId: null, projectId: 'P' }]]))).toEqual(['I2 A'])
})

test('a child that starts before its parent is merged breaks I8, and one that starts after does not', () => {
  const known = { parents: new Map([['C', ['P']]]), firstCaps: NO_CAPS }
  const made: [string, string, Record<string, unknown>][] = ['P', 'C'].map((id) => ['ticket:update', `ticket ${id}`, { from: null, to: 'merging' }])
  const starts: [string, string, Record<string, unknown>] = ['ticket:update', 'ticket C', { from: 'merging', to: 'claimed', attemptId: 'A', fence: 1 }]
  const merges: [string, string, Record<string, unknown>] = ['ticket:update', 'ticket P', { from: 'merging', to: 'done' }]
  expect(broken(replayed([...made, starts, merges], known))).toEqual(['I8 C'])
  expect(broken(replayed([...made, merges, starts], known))).toEqual([])
})

test('reservations never pass the ceiling of their moment, which a person may raise', () => {
  const known = { parents: NOTHING.parents, firstCaps: new Map<string, number | null>([['session/S/micro_usd', 100]]) }
  const call = (id: string, microUsd: number): [string, string, Record<string, unknown>] => ['model:reserved', 'session S', { callId: id, reservedMicroUsd: microUsd, sessionId: 'S', projectId: 'P' }]
  const end = (id: string, microUsd: number): [string, string, Record<string, unknown>] => ['model:call', 'session S', { callId: id, costMicroUsd: microUsd, sessionId: 'S' }]
  expect(broken(replayed([call('1', 60), end('1', 30), call('2', 70)], known))).toEqual([])
  expect(broken(replayed([call('1', 60), call('2', 70)], known))).toEqual(['I7 2'])
  expect(broken(replayed([call('1', 60), ['budget:raised', 'session S', { ceiling: 'session', ceilingId: 'S', unit: 'micro_usd', from: 100, to: 200 }], call('2', 70)], known))).toEqual([])
  expect(broken(replayed([call('1', 60), end('1', 30), end('1', 30)], known))).toEqual(['I7 1'])
  const tokens: [string, string, Record<string, unknown>][] = [['budget:set', 'ticket T', { ceiling: 'attempt', ceilingId: 'A', unit: 'tokens', cap: 50 }], ['model:reserved', 'ticket T', { callId: '1', reservedTokens: 51, attemptId: 'A' }]]
  expect(broken(replayed(tokens, NOTHING))).toEqual(['I7 1'])
})

test('tickets stay below the ceiling that their project gave them at that moment, unless they have their own', () => {
  const call = (id: string, tokens: number): [string, string, Record<string, unknown>] => ['model:reserved', 'ticket T', { callId: id, reservedMicroUsd: 0, reservedTokens: tokens, ticketId: 'T', projectId: 'P' }]
  const settings = (type: string, ticketMaxTokens: number | null): [string, string, Record<string, unknown>] => [`project:${type}`, 'project P', { settings: { maxTokens: 1_000, ticketMaxTokens } }]
  const own = (cap: number | null, is = true): [string, string, Record<string, unknown>] => ['budget:set', 'ticket T', { ceiling: 'ticket', ceilingId: 'T', unit: 'tokens', from: 50, cap, own: is }]
  expect(broken(replayed([settings('created', 50), call('1', 50)]))).toEqual([])
  expect(broken(replayed([settings('created', 50), call('1', 51), settings('changed', null)]))).toEqual(['I7 1'])
  expect(broken(replayed([settings('created', 50), settings('changed', 60), call('1', 60)]))).toEqual([])
  expect(broken(replayed([settings('created', null), call('1', 1_001)]))).toEqual(['I7 1'])
  expect(broken(replayed([settings('created', 50), own(50), settings('changed', 10), call('1', 50)]))).toEqual([])
  expect(broken(replayed([settings('created', 50), own(80), own(50, false), settings('changed', 60), call('1', 60), call('2', 1)]))).toEqual(['I7 2'])
})
