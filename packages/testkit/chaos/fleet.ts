import type { AgentDefinition } from '@swarm/contract/endpoints/agents.ts'
import type { z } from 'zod'
import { createRandom, type Random } from './random.ts'

/*
 * The sample tickets: small work of every kind that the engine knows, in three repositories, drawn from the seed. Shell agents
 * and claude agents (played by the rehearsal), some that fail first, some that ask, some whose files overlap, some in order.
 */

export const REPOSITORIES = ['alpha', 'beta', 'gamma'] as const
export type RepositoryName = typeof REPOSITORIES[number]

/** What passes on a tree: no file of src may be called bad. `gamma` says the same by a real `node --test`. */
export const SWARM_YML: Record<RepositoryName, string> = {
  alpha: 'checks: { test: "! ls src | grep -q bad" }\n',
  beta: 'checks: { lint: "true", test: "! ls src | grep -q bad" }\n',
  gamma: 'checks: { test: node --test }\n',
}

/** Files of the origin that `gamma` is imported from. */
export const GAMMA_FILES: Readonly<Record<string, string>> = {
  'README.md': '# gamma\n', 'swarm.yml': SWARM_YML.gamma, 'package.json': '{ "type": "module", "private": true }\n',
  'test/names.test.js': `import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { test } from 'node:test'
test('no file of src is called bad', () => {
  const names = existsSync('src') ? readdirSync('src') : []
  assert.deepEqual(names.filter((name) => name.includes('bad')), [])
})
`,
}

export interface PlannedTicket {
  readonly title: string
  readonly repository: RepositoryName
  readonly agent: string
  readonly scope: readonly string[]
  /** Places in the same wave. */
  readonly after: readonly number[]
  readonly priority: number
}

interface Behaviour {
  readonly name: string
  readonly weight: number
  /** Commands of a shell agent; none: a claude agent, played by the scene whose title it has. */
  readonly commands?: readonly string[]
  readonly scope: (id: number) => string[]
}

/** Files that tickets without a declared scope share: they meet only when they merge. */
const SHARED = 3
const file = (path: string): string => `mkdir -p src && date +%s%N > ${path}`

/** Each sleeps a little, so that something is always being worked on when a fault comes. */
const BEHAVIOURS: readonly Behaviour[] = [
  { name: 'writes', weight: 4, commands: ['sleep 0.5', 'mkdir -p src && date +%s%N > "src/$(date +%s%N).txt"'], scope: () => [] },
  { name: 'writes-slowly', weight: 2, commands: ['mkdir -p src && date +%s%N > "src/slow-$(date +%s%N).txt"', 'sleep 3'], scope: () => [] },
  { name: 'declares', weight: 2, commands: [file('src/declared.txt')], scope: () => ['src/declared.txt'] },
  ...Array.from({ length: SHARED }, (_, n): Behaviour => ({ name: `collides-${n}`, weight: 1, commands: ['sleep 0.3', file(`src/shared-${n}.txt`)], scope: () => [] })),
  // Its check is red at first; the next attempt starts from that work and mends it.
  { name: 'mends', weight: 2, commands: ['mkdir -p src && if ls src/bad-* >/dev/null 2>&1; then rm src/bad-*; date +%s%N > "src/mended-$(date +%s%N).txt"; else date > "src/bad-$(date +%s%N)"; fi'], scope: () => [] },
  { name: 'gives-up', weight: 1, commands: ['if [ $(( $(date +%s) % 3 )) = 0 ]; then exit 3; fi', 'mkdir -p src && date +%s%N > "src/luck-$(date +%s%N).txt"'], scope: () => [] },
  { name: 'claude-writes', weight: 9, scope: () => [] },
  { name: 'claude-asks', weight: 3, scope: () => [] },
  { name: 'claude-fails-first', weight: 2, scope: () => [] },
]

/** Its command kills the program of its agent, three times in four: how a process of a microVM is killed from within. */
export const DYING_AGENT = 'dies'
const DIES: Behaviour = { name: DYING_AGENT, weight: 0, commands: [file('src/lived.txt'), 'if [ $(( $(od -An -N1 -tu1 /dev/urandom) % 4 )) != 0 ]; then kill -9 $PPID; fi'], scope: () => ['src/lived.txt'] }

/** The agents of the fleet, to be registered once. */
export function fleetAgents(): { name: string; definition: z.input<typeof AgentDefinition> }[] {
  const limits = { turns: 12, minutes: 2, modelSilenceSeconds: 20 }
  return [...BEHAVIOURS, DIES].map(({ name, commands }) => ({
    name,
    definition: { limits, config: commands === undefined ? { template: 'claude' as const, model: 'claude-sonnet-5-5' } : { template: 'shell' as const, commands: [...commands] } },
  }))
}

const DECK = BEHAVIOURS.flatMap((behaviour) => Array.from({ length: behaviour.weight }, () => behaviour))

/** The `number`-th wave of a seed: always the same tickets. */
export function planWave(seed: number, number: number, size: number): PlannedTicket[] {
  const random: Random = createRandom(seed, `wave ${number}`)
  return Array.from({ length: size }, (_, place) => {
    const behaviour = random.pick(DECK)
    const after = place > 0 && random.next() < 0.3 ? [random.below(place)] : []
    return {
      title: `${behaviour.name} ${number}.${place}`, repository: random.pick(REPOSITORIES), agent: behaviour.name, scope: behaviour.scope(place),
      after, priority: random.between(-5, 5),
    }
  })
}

/** Every so many waves come as a design session: the spec is planned by the designer, and its tickets share a ceiling. */
const SESSION_EVERY = 4
/** Ceilings of sessions, micro-dollars: the small ones are met, and a person is asked to raise them. */
const CEILINGS = [50_000, 150_000, 5_000_000] as const

/** Null: this wave comes as plain tickets. */
export function planSession(seed: number, number: number): { spec: string; repository: RepositoryName; maxCostMicroUsd: number } | null {
  if (number % SESSION_EVERY !== 1) return null
  const random = createRandom(seed, `session ${number}`)
  return { spec: SPEC.replace('Words', `Words ${number}`), repository: random.pick(REPOSITORIES), maxCostMicroUsd: random.pick(CEILINGS) }
}

const SPEC = `# Words

## Requirements
- R1 A file under src holds a word.
- R2 A file under src holds a word that a person chose.

## Acceptance
- The checks pass.
`

/** What the rehearsal plays for the claude agents. `finish` stands more than once: a call that was refused comes again. */
export const SCRIPT = `version: 1
title: chaos
scenes:
  - role: designer
    step: skeleton
    optional: true
    turns:
      - json: { epics: [{ key: words, title: Words, requirements: [R1, R2], dependsOn: [] }] }
  - role: designer
    step: 'expand:words'
    optional: true
    turns:
      - json:
          tickets:
            - { key: word, title: claude-writes a word, description: Write a word, acceptance: [it is there], requirements: [R1], scope: ['src/**'], dependsOn: [], storyPoints: 1 }
            - { key: chosen, title: claude-asks for a word, description: Write the word that a person chose, acceptance: [it is there], requirements: [R2], scope: ['src/**'], dependsOn: [], storyPoints: 1 }
            - { key: again, title: claude-fails-first with a word, description: Write a word again, acceptance: [it is there], requirements: [R1], scope: ['src/**'], dependsOn: [word], storyPoints: 1 }
  - role: developer
    title: '^claude-fails-first'
    attempt: 1
    optional: true
    turns:
      - tools: [{ name: write_file, input: { path: 'src/bad-{{ticket.id}}.txt', content: 'not yet' } }]
      - finish: 'it is there'
      - finish: 'it is there'
      - finish: 'it is there'
  - role: developer
    title: '^claude-asks'
    optional: true
    turns:
      - ask: 'Which word shall it hold?'
      - tools: [{ name: write_file, input: { path: 'src/{{ticket.id}}.txt', content: 'an answered word' } }]
      - finish: 'written as answered'
      - finish: 'written as answered'
      - finish: 'written as answered'
  - role: developer
    title: '^claude-fails-first'
    attempt: '2+'
    optional: true
    turns:
      - tools: [{ name: bash, input: { command: 'mkdir -p src && rm -f src/bad-* && echo fine > src/{{ticket.id}}.txt' } }]
      - finish: 'mended'
      - finish: 'mended'
      - finish: 'mended'
  - role: developer
    title: '^claude-'
    optional: true
    turns:
      - delay: 300
        tools: [{ name: write_file, input: { path: 'src/{{ticket.id}}.txt', content: 'a first word' } }]
      - delay: 300
        tools: [{ name: bash, input: { command: 'cat src/{{ticket.id}}.txt; sleep 0.3' } }]
      - delay: 300
        tools: [{ name: edit_file, input: { path: 'src/{{ticket.id}}.txt', old_string: first, new_string: second } }]
      - delay: 300
        tools: [{ name: bash, input: { command: 'ls src; sleep 0.3' } }]
      - finish: 'written'
      - finish: 'written'
      - finish: 'written'
`
