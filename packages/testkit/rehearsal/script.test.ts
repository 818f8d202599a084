import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkPlan, skeletonFindings, type Epic, type PlanTicket } from '@swarm/core/design/plan.ts'
import { parseSpec } from '@swarm/core/design/spec.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readAsking } from './call.ts'
import { answerBlocks, findTurn } from './play.ts'
import { parseScript, readScript, RehearsalScriptError } from './script.ts'
import { starterScript, TO_DO } from './starter.ts'

let folder: string
beforeAll(async () => { folder = await mkdtemp(join(tmpdir(), 'rehearsal-script-')) })
afterAll(async () => { await rm(folder, { recursive: true }) })

function problemsOf(text: string): readonly string[] {
  try {
    parseScript(text, { file: 'play.yaml', folder })
  } catch (error) {
    if (error instanceof RehearsalScriptError) return error.problems
    throw error
  }
  return []
}

describe('a script that cannot be played says where and why', () => {
  it('names the line of an unknown key', () => {
    expect(problemsOf('version: 1\nscenes:\n  - role: developer\n    turn:\n      - finish: done\n    turns:\n      - finish: done\n')).toEqual(['line 4, scenes[0].turn: there is no such key here'])
  })
  it('names the line of a value of the wrong type', () => {
    expect(problemsOf('version: 1\nscenes:\n  - turns:\n      - finish: done\n        delay: soon\n')[0]).toMatch(/^line 5, scenes\[0\]\.turns\[0\]\.delay: .*number/)
  })
  it('names the line of broken YAML', () => {
    expect(problemsOf('version: 1\nscenes:\n  - role: [developer\n')[0]).toMatch(/^line [34]: /)
  })
  it('refuses a turn without an answer, a bad regular expression and a fault without a tool to break', () => {
    expect(problemsOf('version: 1\nscenes:\n  - turns:\n      - fail: { status: 529 }\n')[0]).toMatch(/line 4.*a turn needs an answer/)
    expect(problemsOf('version: 1\nscenes:\n  - title: "("\n    turns:\n      - say: hello\n')[0]).toMatch(/line 3, scenes\[0\]\.title: not a valid regular expression/)
    expect(problemsOf('version: 1\nscenes:\n  - turns:\n      - say: hello\n        malformed: true\n')[0]).toMatch(/line 5.*makes none/)
  })
  it('names a file that does not exist', () => {
    expect(problemsOf('version: 1\nscenes:\n  - turns:\n      - tools:\n          - name: write_file\n            contentFrom: gone.js\n')[0]).toMatch(/^line 6, .*contentFrom: there is no file .*gone\.js/)
  })
  it('says that a script that is no file cannot be read', async () => {
    await expect(readScript(join(folder, 'none.yaml'))).rejects.toThrow(/none\.yaml cannot be played/)
  })
})

describe('a scene is chosen', () => {
  const script = parseScript(`
version: 1
scenes:
  - { role: developer, ticket: scoring, attempt: 1, turns: [{ finish: first }] }
  - { role: developer, ticket: scoring, attempt: "2+", turns: [{ finish: later }] }
  - { role: [developer, reviewer], title: "^Export", turns: [{ say: "{{ticket.id}} {{ticket.title}} {{unknown}}" }] }
  - { role: designer, step: { matches: "^expand:" }, turns: [{ json: { tickets: [] } }] }
`, { file: 'play.yaml', folder: '.' })
  const request = { model: 'm', max_tokens: 10, messages: [{ role: 'user' as const, content: 'hello' }] }
  const find = (headers: Record<string, string>, system = '') => findTurn(script, readAsking({ ...request, system }, headers))

  it('by role, ticket and attempt from the headers', () => {
    expect(find({ 'x-swarm-role': 'developer', 'x-swarm-ticket-key': 'scoring', 'x-swarm-attempt': '1' })).toMatchObject({ sceneIndex: 0 })
    expect(find({ 'x-swarm-role': 'developer', 'x-swarm-ticket-key': 'scoring', 'x-swarm-attempt': '3' })).toMatchObject({ sceneIndex: 1 })
  })
  it('from lines of the system prompt where there are no headers', () => {
    expect(find({}, 'You work.\nSwarm-Role: designer\nSwarm-Step: expand:core\n')).toMatchObject({ sceneIndex: 3 })
  })
  it('by title, with known variables filled in and unknown ones left alone', () => {
    const asking = readAsking(request, { 'x-swarm-role': 'reviewer', 'x-swarm-ticket-id': 'TKT-1', 'x-swarm-ticket-title': encodeURIComponent('Export as CSV – now') })
    const found = findTurn(script, asking)
    if ('reason' in found) return expect.fail(found.reason)
    expect(answerBlocks(found.turn, request, asking)).toEqual([{ type: 'text', text: 'TKT-1 Export as CSV – now {{unknown}}' }])
  })
  it('and when none fits, the answer says what was asked and how to add it', () => {
    expect(find({ 'x-swarm-role': 'developer', 'x-swarm-ticket-key': 'storage' })).toMatchObject({ reason: expect.stringMatching(/role "developer", ticket "storage"[\s\S]*ticket: "storage"/) })
  })
})

it('files go into the answer as they are', async () => {
  await writeFile(join(folder, 'code.js'), 'const t = "{{ticket.id}}"\n')
  await writeFile(join(folder, 'play.yaml'), 'version: 1\nscenes:\n  - turns:\n      - tools: [{ name: write_file, input: { path: "{{ticket.key}}.js" }, contentFrom: code.js }]\n')
  const script = await readScript(join(folder, 'play.yaml'))
  const asking = readAsking({ model: 'm', max_tokens: 1, messages: [{ role: 'user', content: 'x' }] }, { 'x-swarm-ticket-key': 'k' })
  const turn = script.scenes[0]?.turns[0] ?? expect.fail('no turn')
  expect(answerBlocks(turn, { model: 'm', max_tokens: 1, messages: [{ role: 'user', content: 'x' }] }, asking)).toMatchObject([{ json: JSON.stringify({ path: 'k.js', content: 'const t = "{{ticket.id}}"\n' }) }])
})

describe('a starter script', () => {
  const spec = '# Counter: "quoted"\n\n## Counting\n- R1 It counts up.\n- **R2** It counts down.\n\n```\n- R9 not this\n```\n## Showing\n- R3 It shows the number.\n'
  it('is valid, with an epic per heading of requirements and failing placeholders', () => {
    const script = parseScript(starterScript(spec), { file: 'starter.yaml', folder: '.' })
    expect(script.scenes[0]?.turns[0]?.json).toMatchObject({ epics: [{ key: 'counting', requirements: ['R1', 'R2'], dependsOn: [] }, { key: 'showing', requirements: ['R3'], dependsOn: ['counting'] }] })
    expect(script.scenes.filter((scene) => scene.role === 'developer').map((scene) => scene.turns[0]?.expect)).toEqual([[`${TO_DO} (counting-1)`], [`${TO_DO} (showing-1)`]])
  })
  it('makes a plan that the design agent accepts, also for a long spec', () => {
    const long = `# Long\n\n${['Input', 'Output', 'Input'].map((title, section) => `## ${title}\n${Array.from({ length: 13 }, (_, i) => `- R${section * 13 + i + 1} It does the thing ${section}-${i}.`).join('\n')}\n`).join('\n')}`
    const script = parseScript(starterScript(long), { file: 'starter.yaml', folder: '.' })
    const ids = parseSpec(long).requirements.map((requirement) => requirement.id)
    const epics = (script.scenes[0]?.turns[0]?.json?.['epics'] ?? []) as Epic[]
    expect(skeletonFindings(epics, ids)).toEqual([])
    const tickets = epics.flatMap((epic) => {
      const scene = script.scenes.find((each) => each.step === `expand:${epic.key}`) ?? expect.fail(`no scene expands ${epic.key}`)
      return ((scene.turns[0]?.json?.['tickets'] ?? []) as PlanTicket[]).map((ticket) => ({ ...ticket, epic: epic.key, agent: '' }))
    })
    expect(checkPlan(tickets, epics, { requirements: ids, greenfield: true }).findings.filter((finding) => finding.severity === 'error')).toEqual([])
    expect(new Set(script.scenes.filter((scene) => scene.role === 'developer').map((scene) => scene.ticket))).toEqual(new Set(tickets.map((ticket) => ticket.key)))
  })
  it('is not made for a spec that holds nothing to do', () => {
    expect(() => starterScript('\n')).toThrow(DomainError)
  })
})
