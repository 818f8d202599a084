import { parseSpec } from './outline.ts'

/** A line that a starter script requires until its author has replaced the turn below it: no request contains it. */
export const TO_DO = 'TODO: write what this agent does, then remove this expectation'

/**
 * A commented script for a spec, valid as it is: the skeleton has one epic per requirement heading (or one for all), each
 * epic expands to one ticket, and each ticket's developer turns fail with a text that says what to fill in.
 * @param spec Markdown with requirements as list items or headings that begin with an id such as `R1` or `REQ-12`.
 */
export function starterScript(spec: string): string {
  const { title, groups } = parseSpec(spec)
  const lines: string[] = [
    '# Rehearsal script: what the rehearsal model answers for this spec. The whole format is in docs/rehearsal.md.',
    '# Play it with: swarm run --spec SPEC --repo REPOSITORY --rehearsal THIS_FILE',
    'version: 1',
    `title: ${quote(title)}`,
    'scenes:',
    '  # 1. The design agent asks for the epics. Regroup them as you like; each requirement must be in one of them.',
    '  - role: designer',
    '    step: skeleton',
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
  return `${lines.join('\n')}\n`
}

/** A YAML double-quoted scalar: JSON strings are such. */
function quote(text: string): string {
  return JSON.stringify(text)
}
