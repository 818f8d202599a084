import { answerSession, createSession, editSpec } from '@swarm/contract/endpoints/design.ts'
import { sqlitePlace } from '@swarm/server/db/testing.ts'
import { expect, test } from 'vitest'
import { parseScript } from '../rehearsal/script.ts'
import { startRehearsal } from '../rehearsal/server.ts'
import { serveDesign } from './served.ts'

const scene = (step: string, json: unknown): string => `  - role: designer\n    step: ${JSON.stringify(step)}\n    turns:\n      - json: ${JSON.stringify(json)}\n`
const ticket = (key: string, requirement: string) => ({ key, title: key, acceptance: ['tested'], requirements: [requirement], scope: [`src/${key}.js`], storyPoints: 1 })
const scores = (users: number) => ({ overview: 90, users, features: 90, technical: 0, constraints: 0, acceptance: 0 })

test('the rehearsal model plays questions, card and the plan of a new version from its script', async () => {
  const script = `version: 1\nscenes:\n${[
    scene('clarify:1', { coverage: scores(20), acknowledgement: '', question: { text: 'Who uses it?', area: 'users', options: ['guests', 'waiters'] } }),
    scene('clarify:2', { coverage: scores(95), acknowledgement: 'Guests use it.', question: null }),
    scene('card', { title: 'Tips', overview: 'Tips for guests.', users: ['Guests.'], requirements: [{ id: 'R1', text: 'Tips are whole cents.', acceptance: ['1.20'] }] }),
    scene('skeleton', { epics: [{ key: 'core', title: 'Core', requirements: ['R1'], dependsOn: [] }] }), scene('expand:core', { tickets: [ticket('tips', 'R1')] }),
    scene('skeleton@3', { epics: [{ key: 'core', title: 'Core', requirements: ['R2'], dependsOn: [] }] }), scene('expand:core@3', { tickets: [ticket('total', 'R2')] }),
  ].join('')}`
  await using rehearsal = await startRehearsal({ script: parseScript(script, { file: 'script.yml', folder: '.' }) })
  await using place = await serveDesign(sqlitePlace, { url: `${rehearsal.url}/v1/messages` })
  const { id } = await place.admin.call(createSession, { body: { projectId: 'PRJ-1', repositoryId: 'REP-1', input: 'Tips.' } })
  expect((await place.settled(id)).clarification).toMatchObject({ open: 1, questions: [{ options: ['guests', 'waiters'] }] })
  await place.admin.call(answerSession, { params: { sessionId: id }, body: { number: 1, answer: 'guests' } })
  expect(await place.settled(id)).toMatchObject({ state: 'reviewing', modelLabel: 'rehearsal', specVersion: 2, plan: { tickets: [{ key: 'tips' }] } })
  await place.admin.call(editSpec, { params: { sessionId: id }, body: { spec: '# Tips\n\nTips for guests.\n\n## Requirements\n- R1 Tips are whole cents.\n- R2 The total is shown.\n\n## Acceptance\n- R1: 1.20\n', baseVersion: 2 } })
  expect(await place.settled(id)).toMatchObject({ state: 'reviewing', plan: { tickets: [{ key: 'tips' }, { key: 'total' }], change: { kept: ['tips'], added: ['total'] } } })
  expect(rehearsal.status()).toMatchObject({ unmatched: [], unmet: [], remaining: [] })
})

test('a script that says nothing of clarification has nothing to ask', async () => {
  const script = `version: 1\nscenes:\n${scene('skeleton', { epics: [{ key: 'core', title: 'Core', requirements: ['R1'], dependsOn: [] }] })}${scene('expand:core', { tickets: [ticket('tips', 'R1')] })}`
  await using rehearsal = await startRehearsal({ script: parseScript(script, { file: 'script.yml', folder: '.' }) })
  await using place = await serveDesign(sqlitePlace, { url: `${rehearsal.url}/v1/messages` })
  const { id } = await place.admin.call(createSession, { body: { projectId: 'PRJ-1', repositoryId: 'REP-1', spec: '# Tips\n\n## Requirements\n- R1 Tips are whole cents.\n' } })
  expect(await place.settled(id)).toMatchObject({ state: 'reviewing', clarification: { questions: [], mode: 'closed' } })
  expect(rehearsal.calls().map(({ place: at, step }) => [at, step])).toEqual([['built in, clarify:1', 'clarify:1'], [expect.stringContaining('scene 1'), 'skeleton'], [expect.stringContaining('scene 2'), 'expand:core']])
})
