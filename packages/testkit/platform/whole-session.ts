import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { decideApproval, listApprovals } from '@swarm/contract/endpoints/approvals.ts'
import { createSession, showSession } from '@swarm/contract/endpoints/design.ts'
import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository, showRepository } from '@swarm/contract/endpoints/repositories.ts'
import { listVms } from '@swarm/contract/endpoints/runners.ts'
import { answerQuestion, listQuestions, listTickets, showTicket, ticketActivity } from '@swarm/contract/endpoints/tickets.ts'
import { git } from '@swarm/git/run.ts'
import { expect } from 'vitest'
import { checkInstallation } from '../crash/check-installation.ts'
import { parseScript } from '../rehearsal/script.ts'
import { startRehearsal } from '../rehearsal/server.ts'
import { startTestPlatform } from './platform.ts'
import { until } from './until.ts'

const SPEC = `# Greeter

## Requirements
- R1 \`greet(name)\` in src/greet.js returns "Hello, <name>!".
- R2 \`shout(name)\` in src/shout.js returns the greeting in capitals.

## Acceptance
- node --test passes.
`

/** Two tickets in order; the first asks a person, the second is refused by the gate once and overloaded once. */
const SCRIPT = `
version: 1
scenes:
  - role: designer
    step: skeleton
    turns:
      - json: { epics: [{ key: greeter, title: Greeter, requirements: [R1, R2], dependsOn: [] }] }
  - role: designer
    step: expand:greeter
    turns:
      - json:
          tickets:
            - { key: greet, title: Greet, description: Write greet, acceptance: [it greets], requirements: [R1], scope: [src/greet.js, test/greet.test.js, package.json], dependsOn: [], storyPoints: 1 }
            - { key: shout, title: Shout, description: Write shout, acceptance: [it shouts], requirements: [R2], scope: [src/shout.js, test/shout.test.js], dependsOn: [greet], storyPoints: 1 }
  - role: developer
    ticket: greet
    turns:
      - expect: ['R1', 'src/greet.js']
        ask: 'Which punctuation ends a greeting?'
      - expect: ['An exclamation mark']
        tools:
          - { name: write_file, input: { path: package.json, content: '{ "type": "module", "private": true }' } }
          - { name: write_file, input: { path: src/greet.js, content: "export function greet(name) {\\n  return \`Hello, \${name}!\`\\n}\\n" } }
          - { name: write_file, input: { path: test/greet.test.js, content: "import assert from 'node:assert/strict'\\nimport { test } from 'node:test'\\nimport { greet } from '../src/greet.js'\\ntest('it greets', () => {\\n  assert.equal(greet('you'), 'Hello, you!')\\n})\\n" } }
          - { name: bash, input: { command: 'node --test' } }
      - expect: ['pass 1']
        finish: 'greet is written and tested'
  - role: developer
    ticket: shout
    attempt: 1
    turns:
      - fail: { status: 529, retryAfter: 0.2, times: 2 }
        tools:
          - { name: write_file, input: { path: elsewhere.js, content: "export {}\\n" } }
      - finish: 'wrong place'
  - role: developer
    ticket: shout
    attempt: 2
    expect: ['elsewhere.js']
    turns:
      - tools:
          - { name: write_file, input: { path: src/shout.js, content: "import { greet } from './greet.js'\\nexport const shout = (name) => greet(name).toUpperCase()\\n" } }
          - { name: write_file, input: { path: test/shout.test.js, content: "import assert from 'node:assert/strict'\\nimport { test } from 'node:test'\\nimport { shout } from '../src/shout.js'\\ntest('it shouts', () => {\\n  assert.equal(shout('you'), 'HELLO, YOU!')\\n})\\n" } }
      - finish: 'shout is written'
`

/** The whole way of a small spec, through the real interface: planned, approved, worked on, questioned, refused once, merged. */
export async function wholeSession(options: Pick<NonNullable<Parameters<typeof startTestPlatform>[0]>, 'driver' | 'place'>): Promise<void> {
  const logs = mkdtempSync(join(tmpdir(), 'swarm-session-'))
  using _removed = { [Symbol.dispose]: () => rmSync(logs, { recursive: true, force: true }) }
  const modelLog = join(logs, 'rehearsal.jsonl')
  await using rehearsal = await startRehearsal({ script: parseScript(SCRIPT, { file: 'session.yml', folder: import.meta.dirname }), logFile: modelLog })
  await using platform = await startTestPlatform({ ...options, settings: { 'model.provider': 'rehearsal', 'model.baseUrl': rehearsal.url } })
  const { admin, context } = platform.server
  const project = await admin.call(createProject, { body: { slug: 'greeter' } })
  const repository = await admin.call(createRepository, { body: { projectId: project.id, slug: 'greeter', swarmYml: 'checks: { test: node --test }\n' } })
  const session = await admin.call(createSession, { body: { projectId: project.id, repositoryId: repository.id, spec: SPEC, clarify: 'off' } })

  const step = async (): Promise<boolean> => {
    for (const approval of (await admin.call(listApprovals, { query: { status: 'pending' } })).items) {
      await admin.call(decideApproval, { params: { approvalId: approval.id }, body: { decision: 'approved', payloadHash: approval.payloadHash, by: 'yes-flag' } })
    }
    for (const question of (await admin.call(listQuestions, { query: {} })).items) {
      await admin.call(answerQuestion, { params: { questionId: question.id }, body: { answer: 'An exclamation mark' } })
    }
    const { items } = await admin.call(listTickets, { query: { sessionId: session.id } })
    const held = items.find((ticket) => ticket.state === 'on_hold' && !ticket.holdReason?.startsWith('an agent asks'))
    if (held) throw new Error(`${held.key} is held: ${held.holdReason}`)
    const { state } = await admin.call(showSession, { params: { sessionId: session.id } })
    if (state === 'failed') throw new Error(JSON.stringify(await admin.call(showSession, { params: { sessionId: session.id } })))
    return state === 'completed'
  }
  await until(context, step)

  expect(rehearsal.status()).toMatchObject({ unmet: [], unmatched: [], remaining: [] })
  const { items: tickets } = await admin.call(listTickets, { query: { sessionId: session.id } })
  expect(new Map(tickets.map((ticket) => [ticket.key, [ticket.state, ticket.attempts]]))).toEqual(new Map([['greet', ['done', 1]], ['shout', ['done', 2]]]))
  const [greet, shouting] = ['greet', 'shout'].map((key) => tickets.find((ticket) => ticket.key === key)!)
  const shout = await admin.call(showTicket, { params: { ticketId: shouting!.id } })
  expect(shout.history[0]).toMatchObject({ state: 'failed', failureClass: 'policy' })
  expect(shout.history[0]!.evidence!.findings.map((finding) => finding.path)).toContain('elsewhere.js')
  expect(greet!.costMicroUsd).toBeGreaterThan(0)
  const activity = await admin.call(ticketActivity, { params: { ticketId: greet!.id }, query: { limit: 100 } })
  expect(activity.items.map((item) => item.event.type)).toEqual(expect.arrayContaining(['turn', 'tool_call', 'tool_result', 'question', 'finished']))
  const { path } = await admin.call(showRepository, { params: { repositoryId: repository.id } })
  expect((await git(path, ['ls-tree', '-r', '--name-only', 'main'])).stdout.trim().split('\n')).toEqual(expect.arrayContaining(['src/greet.js', 'src/shout.js', 'test/greet.test.js', 'test/shout.test.js']))

  // Every promise held on the way, and the replayed events give what the tables say.
  await until(context, async () => (await admin.call(listVms)).items.every((vm) => vm.state === 'ended'))
  const { config } = context
  const report = await checkInstallation({ home: config.home, databaseUrl: config.databaseUrl?.reveal(), modelLog, settled: true, live: true })
  expect(report.violations).toEqual([])
  expect(report.checked).toMatchObject({ tickets: 2, attempts: 3, changes: 2, mainValues: 3 })
}
