import { listComments, listReviews, type Review, type ReviewComment, type ReviewStanding } from '@swarm/contract/endpoints/reviews.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { plain, time } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { all } from '../../run/target.ts'

const indented = (text: string, by: string): string[] => plain(text).split('\n').map((line) => `${by}${line}`)

/** One comment with its place, the lines that it is about, and what was answered. */
export function shownComment(comment: ReviewComment): string {
  const { id, author, path, startLine, line, side, outdated, made, draft, resolved, quoted, body, replies } = comment
  const notes = [...(draft ? ['draft'] : []), ...(side === 'old' ? ['removed lines'] : []), ...(outdated ? [`outdated: made on ${made.headSha.slice(0, 12)}`] : []), ...(resolved === null ? [] : [`resolved by ${resolved.by}`])]
  return [
    `${id}  ${plain(path)}:${startLine === line ? line : `${startLine}-${line}`}  ${author}${notes.length === 0 ? '' : `  (${notes.join(', ')})`}`, ...indented(quoted, '  | '), ...indented(body, '  '),
    ...replies.flatMap((reply) => [`    ${reply.author}, ${time(reply.createdAt)}:`, ...indented(reply.body, '      ')]),
  ].join('\n')
}

/** What somebody said about the change as a whole. */
export function shownReview(review: Review): string {
  const { reviewer, verdict, score, summary, reasons, headSha, createdAt, comments } = review
  return [
    `${time(createdAt)}  ${reviewer}: ${verdict.replace('_', ' ')}${score === null ? '' : `, score ${score} of 100`} at ${headSha.slice(0, 12)}${comments === 0 ? '' : `, ${comments} comment${comments === 1 ? '' : 's'}`}`,
    ...(summary === '' ? [] : indented(summary, '  ')), ...reasons.flatMap((reason) => indented(reason, '  - ')),
  ].join('\n')
}

/** Whether people are asked, and how many are still to approve. */
export function shownStanding({ approval, needed, approvedBy, agent }: ReviewStanding): string {
  if (approval === null && agent?.state === 'pending') return `The agent reviewer looks at it first${agent.waitsFor === null ? '' : `; it waits for ${agent.waitsFor}`}.`
  return approval === null ? 'Nobody is asked about it now.' : `${approvedBy.length} of ${needed} approvals${approvedBy.length === 0 ? '' : ` (${approvedBy.join(', ')})`}; the approval is ${approval.id}.`
}

export const changeComments = command({
  name: 'change comments',
  summary: 'Shows the reviews of a change and the comments on its lines',
  description: 'Comments follow their lines into newer heads; one whose lines were changed since is outdated. Your own drafts are\namong them; nobody else sees those.',
  examples: [['swarm change comments CHG-7Q2M9XKD', 'all of them'], ['swarm change comments CHG-7Q2M9XKD --open', 'those that are not resolved']],
  arguments: [{ name: 'id', description: 'the change, or its ticket' }],
  options: [{ flags: '--open', description: 'those that are not resolved' }],
  input: z.object({ id: z.string(), open: z.boolean().default(false) }),
  async run({ id, open }, { settings, signal }) {
    const { client } = connect(settings().config)
    const params = { changeId: id }
    const comments = await all((cursor) => client.call(listComments, { params, query: { limit: 200, ...(open ? { resolved: 'false' as const } : {}), ...cursor } }, { signal }))
    const { items: reviews, standing } = await client.call(listReviews, { params, query: { limit: 200 } }, { signal })
    return { json: { comments, reviews, standing }, text: [...reviews.toReversed().map(shownReview), ...comments.map(shownComment), shownStanding(standing)].join('\n\n') }
  },
})
