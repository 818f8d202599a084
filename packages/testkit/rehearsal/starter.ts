import { normalKey } from '@swarm/core/design/merge.ts'
import { parseSpec, type Requirement } from '@swarm/core/design/spec.ts'

/** A line that a starter script requires until its author has replaced the turn below it: no request contains it. */
export const TO_DO = 'TODO: write what this agent does, then remove this expectation'

/** Few enough that the design agent asks for an epic in one step. */
const REQUIREMENTS_PER_EPIC = 8

/**
 * A commented script for a spec, valid as it is: the skeleton has one epic per heading with requirements (more where there are
 * many), each epic expands to one ticket, and each ticket's developer turns fail with a text that says what to fill in. A reviewer, if there is one, is content.
 * @param spec Markdown, read as the design agent reads it.
 * @throws DomainError spec_empty, spec_without_requirements and the others of parseSpec
 */
export function starterScript(spec: string): string {
  const { title, requirements } = parseSpec(spec)
  const groups = groupsOf(requirements)
  const lines: string[] = [
    '# Rehearsal script: what the rehearsal model answers for this spec. The whole format is in docs/rehearsal.md.',
    '# Play it with: swarm run --spec SPEC --repo REPOSITORY --rehearsal THIS_FILE',
    'version: 1',
    `title: ${quote(title)}`,
    'scenes:',
    '  # 0. Only with "swarm run --clarify" or "swarm session start": the design agent asks. Without such a scene nothing is unclear.',
    '  # - role: designer',
    '  #   step: clarify:1 # then clarify:2, … until overview, users and features are at 80 or question is null',
    '  #   turns:',
    '  #     - json:',
    '  #         coverage: { overview: 90, users: 40, features: 90, technical: 50, constraints: 50, acceptance: 50 }',
    '  #         acknowledgement: ""',
    '  #         question: { text: Who uses it?, area: users, options: [guests, waiters], files: [] }',
    '  # - role: designer',
    '  #   step: card # after answers, or for an idea: title, overview, users, requirements [{ id, text, acceptance }], technical, constraints, acceptance, outOfScope',
    '',
    '  # 1. The design agent asks for the epics. Regroup them as you like; each requirement must be in one of them.',
    '  - role: designer',
    '    step: { matches: "^skeleton(:[0-9]+)?$" } # a long spec is asked for in parts: skeleton:2, …',
    '    turns:',
    '      - json:',
    '          epics:',
  ]
  for (const [index, group] of groups.entries()) {
    lines.push(
      `            - key: ${quote(group.key)}`,
      `              title: ${quote(group.title)}`,
      `              requirements: [${group.requirements.map((requirement) => quote(requirement.id)).join(', ')}]`,
      `              dependsOn: [${index > 0 ? quote(groups[0]?.key ?? '') : ''}]${index === 0 ? ' # keys of the epics that must be merged before' : ''}`,
    )
  }
  lines.push('', '  # 2. It asks for the tickets of each epic. "scope" are gitignore globs: the files that the ticket may touch.')
  for (const group of groups) {
    lines.push(
      '  - role: designer',
      `    step: ${quote(`expand:${group.key}`)}`,
      '    turns:',
      '      - json:',
      '          tickets:',
      `            - key: ${quote(`${group.key}-1`)}`,
      `              title: ${quote(group.title)}`,
      `              description: ${quote(group.requirements.map((requirement) => requirement.text).join(' '))}`,
      `              acceptance: [${group.requirements.map((requirement) => quote(`${requirement.id} holds, and a test shows it`)).join(', ')}]`,
      `              requirements: [${group.requirements.map((requirement) => quote(requirement.id)).join(', ')}]`,
      `              scope: [${quote(`src/${group.key}/**`)}, ${quote(`test/${group.key}/**`)}]`,
      '              dependsOn: []',
      '              storyPoints: 2',
    )
  }
  lines.push('', '  # 3. The developers. One turn is one answer of the model; after each the tools run and their results come back.')
  for (const group of groups) {
    lines.push(
      '  - role: developer',
      `    ticket: ${quote(`${group.key}-1`)}`,
      '    turns:',
      '      - expect:',
      `          - ${quote(`${TO_DO} (${group.key}-1)`)}`,
      '        say: I write the module and its test, then run the tests.',
      '        tools:',
      '          - name: write_file',
      `            input: { path: ${quote(`src/${group.key}/index.js`)} }`,
      '            # contentFrom: files/index.js          (a file beside this script) or:',
      '            # input: { path: …, content: "…" }',
      '          - name: bash',
      '            input: { command: node --test }',
      `      - finish: ${quote(group.title)}`,
    )
  }
  lines.push(
    '', '  # 4. The agent reviewer, where the project has one (swarm project set NAME --agent-review advise).',
    '  - role: reviewer',
    '    optional: true',
    '    turns:',
    '      - json: { score: 90, verdict: approve, reasons: [It does what the ticket asks.] }',
  )
  return `${lines.join('\n')}\n`
}

interface Group { key: string; title: string; requirements: Requirement[] }

/** Requirements by the heading that they stand under, in parts of as many as one design call expands. */
function groupsOf(requirements: readonly Requirement[]): Group[] {
  const groups: Group[] = []
  for (const [section, all] of Map.groupBy(requirements, (requirement) => requirement.section)) {
    const title = section || 'Everything'
    for (let at = 0; at < all.length; at += REQUIREMENTS_PER_EPIC) {
      const base = normalKey(title).slice(0, 30) || 'epic'
      let key = base
      for (let number = 2; groups.some((group) => group.key === key); number++) key = `${base}-${number}`
      groups.push({ key, title, requirements: all.slice(at, at + REQUIREMENTS_PER_EPIC) })
    }
  }
  return groups
}

/** A YAML double-quoted scalar: JSON strings are such. */
function quote(text: string): string {
  return JSON.stringify(text)
}
