import { decideApproval, listApprovals } from '@swarm/contract/endpoints/approvals.ts'
import { createSession, showSession } from '@swarm/contract/endpoints/design.ts'
import { listBudgets, setBudget } from '@swarm/contract/endpoints/budgets.ts'
import { createProject, updateProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository } from '@swarm/contract/endpoints/repositories.ts'
import { listTickets, retryTicket } from '@swarm/contract/endpoints/tickets.ts'
import { eachDialect } from '@swarm/server/db/testing.ts'
import { expect, test } from 'vitest'
import { parseScript } from '../rehearsal/script.ts'
import { startRehearsal } from '../rehearsal/server.ts'
import { startTestPlatform } from './platform.ts'
import { until } from './until.ts'

const SPEC = `# Greeter

## Requirements
- R1 \`greet(name)\` in src/greet.js returns "Hello, <name>!".
`
const SCRIPT = `
version: 1
scenes:
  - role: designer
    step: skeleton
    turns:
      - json: { epics: [{ key: greeter, title: Greeter, requirements: [R1], dependsOn: [] }] }
  - role: designer
    step: expand:greeter
    turns:
      - json: { tickets: [{ key: greet, title: Greet, description: Write greet, acceptance: [it greets], requirements: [R1], scope: [src/greet.js], dependsOn: [], storyPoints: 1 }] }
  - role: developer
    ticket: greet
    turns:
      - tools: [{ name: write_file, input: { path: src/greet.js, content: "export const greet = (name) => \`Hello, \${name}!\`\\n" } }]
      - finish: greet is written
`

eachDialect((_dialect, make) => {
  test('what stopped at its budget goes on by itself once a person raises it: the design, and the tickets', async () => {
    await using place = await make()
    await using rehearsal = await startRehearsal({ script: parseScript(SCRIPT, { file: 'budget.yml', folder: import.meta.dirname }) })
    await using platform = await startTestPlatform({ driver: 'process', place, settings: { 'model.provider': 'rehearsal', 'model.baseUrl': rehearsal.url } })
    const { admin, context } = platform.server
    const project = await admin.call(createProject, { body: { slug: 'greeter' } })
    const repository = await admin.call(createRepository, { body: { projectId: project.id, slug: 'greeter', swarmYml: 'checks: { test: "true" }\n' } })
    const session = await admin.call(createSession, { body: { projectId: project.id, repositoryId: repository.id, spec: SPEC, clarify: 'off', maxCostMicroUsd: 10_000 } })
    const setCeiling = (to: number) => admin.call(setBudget, { params: { kind: 'session', id: session.id }, body: { maxCostMicroUsd: to } })
    const asked = async () => (await admin.call(listApprovals, { query: { status: 'pending' } })).items.filter(({ kind }) => kind === 'budget_breach')
    const state = async () => (await admin.call(showSession, { params: { sessionId: session.id } })).state
    const ticket = async () => (await admin.call(listTickets, { query: { sessionId: session.id } })).items[0]
    /** Approves what is asked for until the condition holds; ceilings are doubled, often more than once. */
    const approving = async (kinds: readonly string[], condition: () => Promise<boolean>): Promise<void> => {
      await until(context, async () => {
        for (const approval of (await admin.call(listApprovals, { query: { status: 'pending' } })).items) {
          if (kinds.includes(approval.kind)) await admin.call(decideApproval, { params: { approvalId: approval.id }, body: { decision: 'approved', payloadHash: approval.payloadHash } })
        }
        return condition()
      })
    }

    await until(context, async () => await state() === 'failed')
    expect((await admin.call(showSession, { params: { sessionId: session.id } })).failure).toMatchObject({ code: 'budget_exhausted' })
    await approving(['budget_breach'], async () => await state() === 'reviewing')

    await setCeiling(10_000)
    await approving(['spec_approval', 'build_start'], async () => (await ticket())?.state === 'on_hold')
    expect(await ticket()).toMatchObject({ holdReason: expect.stringMatching(/^the money ceiling of session SES-\w+ is used up: decide on APR-\w+ \(approve: raise and resume; reject: keep paused\)$/) as string })

    // Kept paused: nothing moves, until a person retries it, which asks again.
    const [first] = await asked()
    await admin.call(decideApproval, { params: { approvalId: first!.id }, body: { decision: 'rejected', payloadHash: first!.payloadHash } })
    expect(await ticket()).toMatchObject({ state: 'on_hold', holdReason: expect.stringContaining(first!.id) as string })
    await admin.call(retryTicket, { params: { ticketId: (await ticket())!.id } })
    await until(context, async () => (await ticket())?.state === 'on_hold' && (await asked()).length === 1)
    expect((await asked())[0]?.id).not.toBe(first!.id)

    // The project's ceiling stops it as well; raising it by hand sets it going and makes the question void.
    await admin.call(setBudget, { params: { kind: 'project', id: 'greeter' }, body: { maxCostMicroUsd: 1 } })
    await setCeiling(5_000_000)
    await until(context, async () => (await ticket())?.holdReason?.startsWith(`the money ceiling of project ${project.id}`) ?? false)
    expect((await admin.call(listBudgets, { params: { projectId: 'greeter' } })).items).toMatchObject([
      { kind: 'project', microUsd: { cap: 1, reserved: 0 } }, { kind: 'session', id: session.id, microUsd: { cap: 5_000_000 } }, { kind: 'ticket', microUsd: { cap: null, left: null } },
    ])
    await admin.call(updateProject, { params: { projectId: 'greeter' }, body: { settings: { maxCostMicroUsd: null } } })
    expect(await asked()).toEqual([])
    await approving(['budget_breach', 'merge'], async () => await state() === 'completed')
    expect(await ticket()).toMatchObject({ state: 'done' })
  }, 180_000)
})
