import { showApproval } from '@swarm/contract/endpoints/approvals.ts'
import { showChange } from '@swarm/contract/endpoints/changes.ts'
import { listReviews, submitReview } from '@swarm/contract/endpoints/reviews.ts'
import { VERDICT_NAMES } from '@swarm/core/review/verdicts.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'
import { shownPayload } from '../../run/decide.ts'
import { shownReview, shownStanding } from './comments.ts'

const Verdict = z.string().transform((word) => word.replaceAll('-', '_')).pipe(z.enum(VERDICT_NAMES, `choose ${VERDICT_NAMES.map((name) => name.replace('_', '-')).join(', ')}`))

export const changeReview = command({
  name: 'change review',
  summary: 'Sends your review of a change, with all your drafts at once',
  description: 'approve: it may be merged; it is, once as many people said so as the project asks for.\nrequest-changes: back to the agent with every comment, on the same branch.\nreject: not wanted; its ticket waits for a person. comment: words alone.',
  examples: [
    ['swarm change review CHG-7Q2M9XKD approve', 'what is shown now is approved'], ['swarm change review CHG-7Q2M9XKD request-changes --summary "Test the empty list, too."', 'the agent gets it with your drafts'],
  ],
  arguments: [{ name: 'id', description: 'the change, or its ticket' }, { name: 'verdict', description: 'approve, request-changes, reject or comment' }],
  options: [
    { flags: '--summary <text>', description: 'about the change as a whole' }, { flags: '--head <sha>', description: 'the head that you reviewed; refused if there is a newer one' },
    { flags: '--hash <sha256>', description: 'the payload that you saw; refused if the approval is about something else by now' },
  ],
  input: z.object({ id: z.string(), verdict: Verdict, summary: z.string().default(''), head: z.string().regex(/^[0-9a-f]{40}([0-9a-f]{24})?$/, 'give the whole commit').optional(), hash: z.string().optional() }),
  async run({ id, verdict, summary, head, hash }, { io, settings, signal }) {
    const { client } = connect(settings().config)
    const params = { changeId: id }
    const { headSha } = await client.call(showChange, { params }, { signal })
    const { approval } = (await client.call(listReviews, { params, query: { limit: 1 } }, { signal })).standing
    if (approval !== null && verdict === 'approve') for (const line of shownPayload(await client.call(showApproval, { params: { approvalId: approval.id } }, { signal }))) io.say(line)
    const payloadHash = hash ?? approval?.payloadHash ?? (verdict === 'approve' ? 'nothing' : undefined)
    const review = await client.call(submitReview, { params, body: { verdict, summary, headSha: head ?? headSha, ...(payloadHash === undefined ? {} : { payloadHash }) } }, { signal })
    return { json: review, text: `${shownReview(review)}\n${review.standing.approval === null && verdict === 'approve' ? 'It is approved, and goes into the merge queue.' : shownStanding(review.standing)}` }
  },
})
