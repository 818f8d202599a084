import { showMe } from '@swarm/contract/endpoints/accounts.ts'
import { decideApproval, listApprovals, type Approval } from '@swarm/contract/endpoints/approvals.ts'
import { listAudit } from '@swarm/contract/endpoints/audit.ts'
import { answerSession, createSession, showSession } from '@swarm/contract/endpoints/design.ts'
import { showChange } from '@swarm/contract/endpoints/changes.ts'
import { createOrganization } from '@swarm/contract/endpoints/organizations.ts'
import { createProject, listProjects, showProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository, showRepository } from '@swarm/contract/endpoints/repositories.ts'
import { addComment, listComments, submitReview } from '@swarm/contract/endpoints/reviews.ts'
import { answerQuestion, holdTicket, listQuestions, listTickets, showTicket } from '@swarm/contract/endpoints/tickets.ts'
import { git } from '@swarm/git/run.ts'
import { firstAdmin, member } from '@swarm/server/features/accounts/testing.ts'
import { expect } from 'vitest'
import { parseScript } from '../rehearsal/script.ts'
import { startRehearsal } from '../rehearsal/server.ts'
import { startTestPlatform } from './platform.ts'
import { until } from './until.ts'

const coverage = (score: number) => `{ overview: ${score}, users: ${score}, features: ${score}, technical: 40, constraints: 40, acceptance: 40 }`

/** One ticket from an idea: the clarifier asks once, the agent asks once, and does again what a reviewer sends back. */
const SCRIPT = `
version: 1
scenes:
  - role: designer
    step: clarify:1
    turns:
      - json: { coverage: ${coverage(40)}, acknowledgement: '', question: { text: 'Who is greeted?', area: users, options: [guests, staff], files: [README.md] } }
  - role: designer
    step: clarify:2
    expect: ['guests']
    turns:
      - json: { coverage: ${coverage(90)}, acknowledgement: 'Guests are greeted.', question: null }
  - role: designer
    step: card
    turns:
      - json:
          title: Greeter
          overview: Greets guests by their name.
          users: [guests]
          requirements: [{ id: R1, text: '\`greet(name)\` in src/greet.js returns "Hello, <name>!".', acceptance: [node --test passes] }]
          technical: []
          constraints: []
          acceptance: []
          outOfScope: []
  - role: designer
    step: { matches: '^skeleton' }
    turns:
      - json: { epics: [{ key: greeter, title: Greeter, requirements: [R1], dependsOn: [] }] }
  - role: designer
    step: { matches: '^expand:greeter' }
    turns:
      - json:
          tickets:
            - { key: greet, title: Greet, description: Write greet, acceptance: [it greets], requirements: [R1], scope: [src/greet.js, test/greet.test.js, package.json], dependsOn: [], storyPoints: 1 }
  - role: developer
    ticket: greet
    attempt: 1
    turns:
      - ask: 'Which punctuation ends a greeting?'
      - expect: ['An exclamation mark']
        tools:
          - { name: write_file, input: { path: package.json, content: '{ "type": "module", "private": true }' } }
          - { name: write_file, input: { path: src/greet.js, content: "export function greet(name) {\\n  return \`Hello, \${name}!\`\\n}\\n" } }
          - { name: write_file, input: { path: test/greet.test.js, content: "import assert from 'node:assert/strict'\\nimport { test } from 'node:test'\\nimport { greet } from '../src/greet.js'\\ntest('it greets', () => {\\n  assert.equal(greet('you'), 'Hello, you!')\\n})\\n" } }
      - finish: 'greet is written and tested'
  - role: developer
    ticket: greet
    attempt: 2
    expect: ['Say what it returns', 'src/greet.js']
    turns:
      - tools:
          - { name: read_file, input: { path: src/greet.js } }
          - { name: write_file, input: { path: src/greet.js, content: "/** A greeting. */\\nexport function greet(name) {\\n  return \`Hello, \${name}!\`\\n}\\n" } }
      - finish: 'it says what it returns'
`

/**
 * The whole way from an idea to main through the public API alone, by two people with different roles: an administrator, who
 * came by the link of the first set-up, and a developer, whom they invited. Two more look on: a viewer, and the administrator of
 * another organisation.
 */
export async function twoPeople(options: Pick<NonNullable<Parameters<typeof startTestPlatform>[0]>, 'driver' | 'place'>): Promise<void> {
  await using rehearsal = await startRehearsal({ script: parseScript(SCRIPT, { file: 'two-people.yml', folder: import.meta.dirname }) })
  await using platform = await startTestPlatform({ ...options, settings: { 'model.provider': 'rehearsal', 'model.baseUrl': rehearsal.url } })
  const { server } = platform
  const { context } = server
  const admin = await firstAdmin(server)
  const developer = await member(server, admin, 'developer@example.org', 'developer')
  const viewer = await member(server, admin, 'viewer@example.org', 'viewer')
  const elsewhere = await admin.call(createOrganization, { body: { slug: 'elsewhere' } })
  const stranger = await member(server, admin, 'stranger@example.org', 'admin', elsewhere.id)
  const developerId = (await developer.call(showMe)).id
  const forbidden = { status: 403, code: 'forbidden' }
  const hidden = { status: 404, code: 'not_found' }

  await expect(developer.call(createProject, { body: { slug: 'greeter' } })).rejects.toMatchObject(forbidden)
  const project = await admin.call(createProject, { body: { slug: 'greeter', settings: { review: { people: 2 } } } })
  const repository = await admin.call(createRepository, { body: { projectId: project.id, slug: 'greeter', swarmYml: 'checks: { test: node --test }\n' } })
  const idea = { projectId: project.id, repositoryId: repository.id, input: 'A function that greets people by their name.' }
  await expect(viewer.call(createSession, { body: idea })).rejects.toMatchObject(forbidden)
  await expect(stranger.call(createSession, { body: idea })).rejects.toMatchObject(hidden)
  expect((await stranger.call(listProjects)).items).toEqual([])

  // Clarify, with the developer's answer; the viewer reads along.
  const session = await developer.call(createSession, { body: idea })
  const shown = () => viewer.call(showSession, { params: { sessionId: session.id } })
  await until(context, async () => (await shown()).clarification.open !== null)
  expect((await shown()).clarification.questions).toMatchObject([{ number: 1, question: 'Who is greeted?', options: ['guests', 'staff'] }])
  await expect(viewer.call(answerSession, { params: { sessionId: session.id }, body: { number: 1, answer: 'staff' } })).rejects.toMatchObject(forbidden)
  await expect(stranger.call(showSession, { params: { sessionId: session.id } })).rejects.toMatchObject(hidden)
  await developer.call(answerSession, { params: { sessionId: session.id }, body: { number: 1, answer: 'guests' } })

  // Approve: the developer the spec, the administrator the build; what is approved is what was shown.
  const pending = async (kind: string): Promise<Approval> => {
    let found: Approval | undefined
    await until(context, async () => {
      found = (await viewer.call(listApprovals, { query: { status: 'pending', projectId: project.id } })).items.find((approval) => approval.kind === kind)
      return found !== undefined
    })
    return found!
  }
  const decide = (who: typeof admin, { id, payloadHash }: Approval) => who.call(decideApproval, { params: { approvalId: id }, body: { decision: 'approved', payloadHash } })
  const spec = await pending('spec_approval')
  await expect(decide(viewer, spec)).rejects.toMatchObject(forbidden)
  await expect(decide(stranger, spec)).rejects.toMatchObject(hidden)
  await expect(decide(developer, { ...spec, payloadHash: '0'.repeat(64) })).rejects.toMatchObject({ code: 'payload_changed' })
  expect(await decide(developer, spec)).toMatchObject({ status: 'approved', decidedBy: `user ${developerId}` })
  const build = await pending('build_start')
  expect(build.payload).toMatchObject({ tickets: 1, storyPoints: 1 })
  await decide(admin, build)

  // Build: the agent asks, and goes on with the developer's answer.
  await until(context, async () => (await viewer.call(listQuestions, { query: { projectId: project.id } })).items.length > 0)
  const [question] = (await viewer.call(listQuestions, { query: { projectId: project.id } })).items
  await expect(viewer.call(answerQuestion, { params: { questionId: question!.id }, body: { answer: 'None' } })).rejects.toMatchObject(forbidden)
  expect(await developer.call(answerQuestion, { params: { questionId: question!.id }, body: { answer: 'An exclamation mark' } })).toMatchObject({ answeredBy: `user ${developerId}` })

  // Review: a comment sends it back, then both approve.
  const first = await pending('merge')
  const [ticket] = (await viewer.call(listTickets, { query: { sessionId: session.id } })).items
  await expect(viewer.call(holdTicket, { params: { ticketId: ticket!.id }, body: { reason: 'no' } })).rejects.toMatchObject(forbidden)
  const change = await viewer.call(showChange, { params: { changeId: ticket!.id } })
  const comment = { path: 'src/greet.js', line: 1, body: 'Say what it returns.', headSha: change.headSha }
  await expect(viewer.call(addComment, { params: { changeId: change.id }, body: comment })).rejects.toMatchObject(forbidden)
  await admin.call(addComment, { params: { changeId: change.id }, body: comment })
  await admin.call(submitReview, { params: { changeId: change.id }, body: { verdict: 'request_changes', summary: 'Nearly.', headSha: change.headSha } })
  const second = await pending('merge')
  expect(second.payloadHash).not.toBe(first.payloadHash)
  await expect(decide(admin, first)).rejects.toMatchObject({ code: 'already_decided' })
  expect(await decide(developer, second)).toMatchObject({ status: 'pending' })
  const { headSha } = await viewer.call(showChange, { params: { changeId: change.id } })
  expect((await viewer.call(listComments, { params: { changeId: change.id } })).items).toMatchObject([{ body: 'Say what it returns.' }])
  await admin.call(submitReview, { params: { changeId: change.id }, body: { verdict: 'approve', summary: 'Good.', headSha, payloadHash: second.payloadHash } })

  // Merge.
  await until(context, async () => (await shown()).state === 'completed')
  expect(rehearsal.status()).toMatchObject({ unmet: [], unmatched: [], remaining: [] })
  expect(await viewer.call(showTicket, { params: { ticketId: ticket!.id } })).toMatchObject({ state: 'done', attempts: 2 })
  const { path } = await admin.call(showRepository, { params: { repositoryId: repository.id } })
  expect((await git(path, ['show', 'main:src/greet.js'])).stdout).toContain('A greeting.')

  // Who did what, and what was refused, is on record; the viewer changed nothing.
  const { items: record } = await admin.call(listAudit, { query: { limit: 200 } })
  const of = (email: string) => record.filter(({ principal }) => principal.name === email).map(({ action, outcome }) => `${action} ${outcome}`)
  expect(of('viewer')).not.toEqual([])
  expect(of('viewer').filter((each) => !each.endsWith(' deny'))).toEqual([])
  expect(of('developer')).toEqual(expect.arrayContaining(['session:start allow', 'session:edit allow', 'approval:decide allow', 'ticket:answer allow', 'project:create deny']))
  await expect(viewer.call(listAudit)).rejects.toMatchObject(forbidden)
  await expect(stranger.call(showProject, { params: { projectId: project.id } })).rejects.toMatchObject(hidden)
}
