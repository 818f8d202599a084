import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { commands } from '@swarm/cli/commands.ts'
import { createIo } from '@swarm/cli/io.ts'
import { writeRunFile } from '@swarm/cli/platform/run-file.ts'
import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository } from '@swarm/contract/endpoints/repositories.ts'
import { sqlitePlace } from '@swarm/server/db/testing.ts'
import { startTestServer } from '@swarm/server/testing.ts'
import { expect, test } from 'vitest'
import { until } from '../platform/until.ts'
import { parseScript } from '../rehearsal/script.ts'
import { startRehearsal } from '../rehearsal/server.ts'

const SCRIPT = `
version: 1
scenes:
  - role: designer
    step: clarify:1
    turns:
      - json: { coverage: { overview: 90, users: 20, features: 90, technical: 0, constraints: 0, acceptance: 0 }, acknowledgement: "", question: { text: Who uses it?, area: users, options: [guests, waiters], files: [README.md] } }
  - role: designer
    step: clarify:2
    turns:
      - json: { coverage: { overview: 90, users: 90, features: 90, technical: 0, constraints: 0, acceptance: 0 }, acknowledgement: Guests use it., question: null }
  - role: designer
    step: card
    expect: [guests]
    turns:
      - json: { title: Tips, overview: Works out tips., users: [Guests.], requirements: [{ id: R1, text: Tips are whole cents., acceptance: [1.20 for 10] }] }
  - role: designer
    step: skeleton
    turns:
      - json: { epics: [{ key: core, title: Core, requirements: [R1], dependsOn: [] }] }
  - role: designer
    step: { matches: "^expand:core" }
    turns:
      - json: { tickets: [{ key: tips, title: Work out tips, acceptance: [tested], requirements: [R1], scope: [src/tips.js], storyPoints: 2 }] }
`

test('an idea is designed on the command line: asked, answered, written, edited, compared, and its build confirmed with numbers', { timeout: 60_000 }, async () => {
  await using stack = new AsyncDisposableStack()
  const folder = mkdtempSync(join(tmpdir(), 'swarm-design-cli-'))
  stack.defer(() => rmSync(folder, { recursive: true, force: true }))
  const rehearsal = stack.use(await startRehearsal({ script: parseScript(SCRIPT, { file: 'design.yml', folder }) }))
  const server = stack.use(await startTestServer(stack.use(await sqlitePlace()), { settings: { 'model.provider': 'rehearsal', 'model.baseUrl': rehearsal.url } }))
  const project = await server.admin.call(createProject, { body: { slug: 'tips' } })
  const repository = await server.admin.call(createRepository, { body: { projectId: project.id, slug: 'tips' } })
  writeRunFile(folder, { url: server.url, model: 'rehearsal', startedAt: 1, processes: [] })
  writeFileSync(join(folder, 'admin-token'), server.adminToken)
  const io = createIo({ json: true })
  const swarm = async (name: string, input: Record<string, unknown>): Promise<{ json: Record<string, unknown>; text: string }> => {
    const command = commands.find((each) => each.name === name)
    if (!command) throw new Error(`no command ${name}`)
    const { json, text = '' } = await command.run(command.input.parse(input), { io, settings: () => ({ config: { home: folder, client: {} } }), signal: AbortSignal.timeout(50_000) } as never)
    return { json, text }
  }
  const settle = async (id: string, state: string): Promise<string> => {
    let text = ''
    await until(server.context, async () => {
      const shown = await swarm('session show', { id })
      text = shown.text
      if (shown.json['state'] === 'failed') throw new Error(text)
      return shown.json['state'] === state && (state !== 'clarifying' || text.includes('to answer'))
    }, 20_000)
    return text
  }

  await expect(swarm('session start', { idea: ['tips'], repository: 'nothing' })).rejects.toMatchObject({ code: 'repository_unclear' })
  await expect(swarm('session start', { repository: 'tips' })).rejects.toMatchObject({ code: 'misuse' })
  const started = await swarm('session start', { idea: ['a', 'page', 'for', 'tips'], repository: repository.id })
  const id = String(started.json['id'])
  expect(started.text).toContain(`swarm session chat ${id}`)
  const asked = await settle(id, 'clarifying')
  expect(asked).toContain('question 1 (users): Who uses it?\n  about README.md\n  - guests\n  - waiters\n  known so far: overview 90 ✓, users 20, features 90 ✓, technical 0')
  await expect(swarm('session chat', { id })).rejects.toMatchObject({ code: 'decision_needed', exitCode: 4 })
  await expect(swarm('session answer', { id, answer: ['x'], question: 2 })).rejects.toMatchObject({ code: 'not_found' })
  await swarm('session answer', { id, answer: ['guests'] })
  const planned = await settle(id, 'reviewing')
  expect(planned).toContain('1. Who uses it?\n   admin admin: guests\n   Guests use it.\n\nR1  Tips are whole cents.')
  await expect(swarm('session answer', { id, answer: ['late'] })).rejects.toMatchObject({ code: 'no_question' })
  await expect(swarm('session skip', { id })).rejects.toMatchObject({ code: 'illegal_transition' })
  // Every step went through the gateway.
  expect(await server.context.db.read.selectFrom('model_calls').select(['step', 'state']).orderBy('created_at').orderBy('id').execute()).toEqual(expect.arrayContaining(['clarify:1', 'clarify:2', 'card', 'skeleton', 'expand:core'].map((step) => ({ step, state: 'settled' }))))

  const { text: markdown } = await swarm('session versions', { id, show: '2' })
  const file = join(folder, 'SPEC.md')
  writeFileSync(file, markdown.replace('whole cents', 'whole euros'))
  await expect(swarm('session edit', { id, spec: file, base: '1' })).rejects.toMatchObject({ code: 'version_conflict' })
  expect((await swarm('session edit', { id, spec: file, base: '2', reason: 'euros' })).text).toContain('is at version 3')
  await settle(id, 'reviewing')
  expect((await swarm('session diff', { id })).text).toMatch(/^--- version 2\n\+\+\+ version 3\n[\s\S]*-- R1 Tips are whole cents\.\n\+- R1 Tips are whole euros\.\n[\s\S]*\nchanged R1$/)
  expect((await swarm('session versions', { id })).text).toMatch(/3 +admin admin +1 .* euros\n +2 +designer/)
  const pending = async (): Promise<string> => String(((await swarm('approval list', {})).json['approvals'] as { id: string }[])[0]?.id)
  await swarm('approval approve', { id: await pending() })
  const { text: confirmation } = await swarm('approval show', { id: await pending() })
  for (const line of [/1 tickets in 1 waves, 2 story points; model: rehearsal/, /critical path 2 story points: tips/, /microVMs +at least 3, up to 1 at once/, /money +\$0\.12 … \$3\.00, likely \$0\.60/, /priors that nobody has measured/, /no build has been held against/]) expect(confirmation).toMatch(line)
  expect(rehearsal.status()).toMatchObject({ unmatched: [], unmet: [] })
})
