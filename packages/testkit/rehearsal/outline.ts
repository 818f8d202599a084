/** The parts of a spec that a starter script needs. */
export interface SpecOutline {
  title: string
  /** One per heading that holds requirements, in order of the document. */
  groups: Array<{ key: string; title: string; requirements: Array<{ id: string; text: string }> }>
}

const HEADING = /^(#{1,6})\s+(.*?)\s*#*\s*$/
const REQUIREMENT = /^(?:[-*+]|\d+[.)])?\s*(?:\*\*)?((?:[A-Z]{1,8}-?)\d+(?:\.\d+)*)\b(?:\*\*)?[.:)]?\s+(.*)$/

/** Reads headings and requirements (a list item or heading that begins with an id) from Markdown. A spec without any becomes one group R1. */
export function parseSpec(markdown: string): SpecOutline {
  let title = ''
  let heading = ''
  let fenced = false
  const groups: SpecOutline['groups'] = []
  const seen = new Set<string>()
  for (const line of markdown.split(/\r?\n/)) {
    if (/^\s*(```|~~~)/.test(line)) fenced = !fenced
    if (fenced) continue
    const asHeading = HEADING.exec(line)
    if (asHeading) {
      title ||= asHeading[2] ?? ''
      heading = asHeading[2] ?? ''
    }
    const found = REQUIREMENT.exec(asHeading ? heading : line.trim())
    if (!found || (!asHeading && !/^\s*([-*+]|\d+[.)])\s/.test(line))) continue
    const [, id = '', text = ''] = found
    if (seen.has(id)) continue
    seen.add(id)
    const groupTitle = asHeading ? text : heading || title || 'Everything'
    let group = groups.find((candidate) => candidate.title === groupTitle)
    if (!group) groups.push(group = { key: keyOf(groupTitle, groups), title: groupTitle, requirements: [] })
    group.requirements.push({ id, text: text.replaceAll('**', '') })
  }
  if (groups.length === 0) groups.push({ key: 'all', title: title || 'Everything', requirements: [{ id: 'R1', text: title || 'The whole spec' }] })
  return { title: title || 'Untitled spec', groups }
}

function keyOf(title: string, taken: SpecOutline['groups']): string {
  const base = title.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '').slice(0, 30) || 'epic'
  let key = base
  for (let n = 2; taken.some((group) => group.key === key); n++) key = `${base}-${n}`
  return key
}
