import { decideApproval, listApprovals, showApproval } from '@swarm/contract/endpoints/approvals.ts'
import { listChanges } from '@swarm/contract/endpoints/changes.ts'
import { setPolicy } from '@swarm/contract/endpoints/policies.ts'
import { addComment, discardComment, editComment, listComments, listReviews, replyToComment, resolveComment, submitReview } from '@swarm/contract/endpoints/reviews.ts'
import { retryTicket, showTicket } from '@swarm/contract/endpoints/tickets.ts'
import { reviewWorld, type ReviewWorld } from '@swarm/testkit/platform/review-world.ts'
import { expect, test } from 'vitest'
import { eachDialect, sqlitePlace } from '../../db/testing.ts'
import { mintToken } from '../../http/tokens.ts'

const BEFORE = { 'src/sum.js': 'export const sum = (a, b) => a\n', 'src/other.js': 'one\ntwo\nthree\n' }
const LINES = ['export function sum(a, b) {', '  // adds', '  return a - b', '}', 'export default sum', ''].join('\n')

/** A change of src/sum.js that people are asked about. */
async function inReview(world: ReviewWorld) {
  const ticketId = await world.ticket('Add')
  await world.handIn({ 'src/sum.js': LINES })
  const { change, standing } = await world.asked(ticketId)
  return { ticketId, change, params: { changeId: change.id }, headSha: change.headSha, approvalId: standing.approval!.id, payloadHash: standing.approval!.payloadHash }
}

eachDialect((_dialect, make) => {
  test('comments are drafts of their own until a review sends them all at once; the agent gets them in one batch, on the same branch', async () => {
    await using place = await make()
    await using world = await reviewWorld(place, { files: BEFORE })
    const { admin } = world.server
    const other = await world.as('second')
    const { ticketId, change, params, headSha } = await inReview(world)
    const place1 = { path: 'src/sum.js', headSha }
    const first = await admin.call(addComment, { params, body: { ...place1, startLine: 2, line: 3, body: 'This subtracts.' } })
    expect(first).toMatchObject({ draft: true, startLine: 2, line: 3, quoted: '  // adds\n  return a - b', outdated: false, author: 'admin admin' })
    const gone = await admin.call(addComment, { params, body: { ...place1, line: 1, side: 'old', body: 'Why was this an arrow?' } })
    expect(gone.quoted).toBe('export const sum = (a, b) => a')
    await admin.call(editComment, { params: { ...params, commentId: first.id }, body: { body: 'This subtracts: add.' } })
    const scrap = await admin.call(addComment, { params, body: { ...place1, line: 5, body: 'no' } })
    await admin.call(discardComment, { params: { ...params, commentId: scrap.id } })
    // Nobody else sees drafts, whichever way they are looked for.
    expect((await other.call(listComments, { params, query: {} })).items).toEqual([])
    await expect(other.call(replyToComment, { params: { ...params, commentId: first.id }, body: { body: 'x' } })).rejects.toMatchObject({ status: 404 })
    await expect(other.call(discardComment, { params: { ...params, commentId: first.id } })).rejects.toMatchObject({ status: 404 })

    // Words alone decide nothing, and send what there is.
    const said = await other.call(submitReview, { params, body: { verdict: 'comment', summary: 'Look at the tests, too.', headSha } })
    expect(said).toMatchObject({ verdict: 'comment', comments: 0, counts: false })
    expect(await world.state(ticketId)).toBe('in_review')
    const review = await admin.call(submitReview, { params, body: { verdict: 'request_changes', summary: 'Not yet.', headSha } })
    expect(review).toMatchObject({ verdict: 'request_changes', comments: 2, standing: { approval: null } })
    // The answer was lost: the same review again is the same review.
    expect(await admin.call(submitReview, { params, body: { verdict: 'request_changes', summary: 'Not yet.', headSha } })).toMatchObject({ id: review.id, comments: 2 })
    expect(await world.state(ticketId)).toBe('changes_requested')
    await other.call(replyToComment, { params: { ...params, commentId: first.id }, body: { body: 'And test it.' } })
    await expect(admin.call(editComment, { params: { ...params, commentId: first.id }, body: { body: 'x' } })).rejects.toMatchObject({ code: 'comment_not_draft' })

    const { work } = await world.handIn({ 'src/sum.js': LINES.replace('a - b', 'a + b') })
    expect(work.startSha).toBe(headSha)
    const comments = work.task.evidence.at(-1)?.comments
    expect(work.task.evidence.at(-1)).toMatchObject({ failureClass: 'policy', reason: 'Not yet.' })
    expect(comments).toMatchObject([
      { path: 'src/sum.js', side: 'new', startLine: 2, line: 3, headSha, quoted: '  // adds\n  return a - b', body: 'This subtracts: add.', author: 'admin admin' },
      { side: 'old', line: 1, headSha: change.baseSha, body: 'Why was this an arrow?' },
    ])
    const { events } = world.server.context
    expect((await events.read(null, 1_000, { types: ['change:reviewed'] })).events.map(({ data }) => [data['verdict'], (data['commentIds'] as string[]).length])).toEqual([['comment', 0], ['request_changes', 2]])
    expect((await events.read(null, 1_000, { types: ['change:commented'] })).events.map(({ data }) => data['what'])).toEqual(['replied'])
    // One change, on one branch, whatever the number of its reviews.
    expect((await world.asked(ticketId)).change).toMatchObject({ id: change.id, branch: change.branch })
  })

  test('a comment follows its lines into a new head; where they were changed it is outdated, and listed all the same; what is resolved is not given again', async () => {
    await using place = await make()
    await using world = await reviewWorld(place, { files: BEFORE })
    const { admin } = world.server
    const { ticketId, params, headSha } = await inReview(world)
    const on = async (line: number, startLine = line) => (await admin.call(addComment, { params, body: { path: 'src/sum.js', line, startLine, body: `about ${line}`, headSha } })).id
    const [top, changed, kept] = [await on(1), await on(4, 2), await on(5)]
    await admin.call(submitReview, { params, body: { verdict: 'request_changes', headSha } })
    await admin.call(resolveComment, { params: { ...params, commentId: top! }, body: { resolved: true } })
    await world.handIn({ 'src/sum.js': null, 'src/add.js': `// adds two numbers\n${LINES.replace('a - b', 'a + b')}` })
    const { change } = await world.asked(ticketId)
    const now = new Map((await admin.call(listComments, { params, query: {} })).items.map((comment) => [comment.id, comment]))
    expect(now.get(top!)).toMatchObject({ path: 'src/add.js', line: 2, outdated: false, resolved: { by: 'admin admin' } })
    expect(now.get(changed!)).toMatchObject({ path: 'src/sum.js', startLine: 2, line: 4, outdated: true, quoted: '  // adds\n  return a - b\n}' })
    expect(now.get(kept!)).toMatchObject({ path: 'src/add.js', line: 6, outdated: false, made: { path: 'src/sum.js', line: 5, headSha } })
    expect((await admin.call(listComments, { params, query: { resolved: 'false', limit: 1 } }))).toMatchObject({ items: [{ id: changed }], nextCursor: expect.any(String) as string })
    await admin.call(submitReview, { params, body: { verdict: 'request_changes', summary: 'Almost.', headSha: change.headSha } })
    const { task } = await world.claim()
    expect(task.evidence.map((each) => each.comments?.map((comment) => comment.id))).toEqual([undefined, [changed, kept]])
  })

  test('as many different people as the project asks for approve, by review or at the approval; each counts once, and the last of them merges it', async () => {
    await using place = await make()
    await using world = await reviewWorld(place, { settings: { review: { people: 3 } } })
    const { admin } = world.server
    const [second, third] = [await world.as('second'), await world.as('third')]
    const { ticketId, params, headSha, approvalId, payloadHash } = await inReview(world)
    const approve = { verdict: 'approve' as const, headSha, payloadHash }
    await admin.call(submitReview, { params, body: approve })
    expect(await admin.call(decideApproval, { params: { approvalId }, body: { decision: 'approved', payloadHash } })).toMatchObject({ status: 'pending', decidedBy: null })
    const { standing, items } = await admin.call(listReviews, { params, query: {} })
    expect([standing.needed, standing.approvedBy, items.length]).toEqual([3, ['admin admin'], 1])
    // Two at the same time: both are heard, one of them is the last.
    await Promise.all([second.call(submitReview, { params, body: approve }), third.call(decideApproval, { params: { approvalId }, body: { decision: 'approved', payloadHash } })])
    expect(await admin.call(showApproval, { params: { approvalId } })).toMatchObject({ status: 'approved' })
    await world.until(async () => (await world.state(ticketId)) === 'done')
    expect(new Set((await admin.call(listReviews, { params, query: {} })).standing.approvedBy)).toEqual(new Set(['admin admin', 'admin second', 'admin third']))
  })

  test('of one who approves and one who asks for changes at the same time the first decides, and the other is told', async () => {
    await using place = await make()
    await using world = await reviewWorld(place)
    const second = await world.as('second')
    const { ticketId, params, headSha, payloadHash } = await inReview(world)
    await second.call(addComment, { params, body: { path: 'src/sum.js', line: 1, body: 'kept', headSha } })
    const [approved, asked] = await Promise.allSettled([
      world.server.admin.call(submitReview, { params, body: { verdict: 'approve', headSha, payloadHash } }), second.call(submitReview, { params, body: { verdict: 'request_changes', summary: 'No.', headSha } }),
    ])
    expect([approved.status, asked.status].toSorted()).toEqual(['fulfilled', 'rejected'])
    const lost = approved.status === 'rejected' ? approved : asked
    expect(lost).toMatchObject({ reason: { status: 409, code: 'already_decided', message: expect.stringContaining(approved.status === 'rejected' ? 'admin second' : 'admin admin') as string } })
    // What was refused left nothing behind: one review, and the draft is still a draft.
    const { items } = await second.call(listReviews, { params, query: {} })
    expect(items.map((review) => review.verdict)).toEqual([approved.status === 'fulfilled' ? 'approve' : 'request_changes'])
    expect((await second.call(listComments, { params, query: {} })).items.map((comment) => comment.draft)).toEqual([approved.status === 'fulfilled'])
    await world.until(async () => ['done', 'changes_requested'].includes(await world.state(ticketId)))
  })

  test('a rejected change waits for a person; a retry asks again, and what was said before counts no more', async () => {
    await using place = await make()
    await using world = await reviewWorld(place, { settings: { review: { people: 2 } } })
    const { admin } = world.server
    const second = await world.as('second')
    const { ticketId, params, headSha, approvalId, payloadHash } = await inReview(world)
    await admin.call(submitReview, { params, body: { verdict: 'approve', headSha, payloadHash } })
    await second.call(submitReview, { params, body: { verdict: 'reject', summary: 'We do not want this.', headSha } })
    expect(await admin.call(showTicket, { params: { ticketId } })).toMatchObject({ state: 'on_hold', holdReason: 'its change was rejected: We do not want this.' })
    await admin.call(retryTicket, { params: { ticketId } })
    const { standing } = await world.asked(ticketId)
    expect(standing.approval!.id).not.toBe(approvalId)
    expect(standing.approvedBy).toEqual([])
    await second.call(submitReview, { params, body: { verdict: 'approve', headSha, payloadHash: standing.approval!.payloadHash } })
    expect(await world.state(ticketId)).toBe('in_review')
    await admin.call(submitReview, { params, body: { verdict: 'approve', headSha, payloadHash: standing.approval!.payloadHash } })
    await world.until(async () => (await world.state(ticketId)) === 'done')
  })

  test('whoever ordered the work does not approve it where the project says so, by neither way', async () => {
    await using place = await make()
    await using world = await reviewWorld(place, { settings: { review: { notAuthor: true } } })
    const second = await world.as('second')
    const { ticketId, params, headSha, approvalId, payloadHash } = await inReview(world)
    const { admin } = world.server
    const mine = { status: 403, code: 'reviewer_is_author' }
    await expect(admin.call(submitReview, { params, body: { verdict: 'approve', headSha, payloadHash } })).rejects.toMatchObject(mine)
    await expect(admin.call(decideApproval, { params: { approvalId }, body: { decision: 'approved', payloadHash, by: 'yes-flag' } })).rejects.toMatchObject(mine)
    expect((await admin.call(listReviews, { params, query: {} })).items).toEqual([])
    await second.call(submitReview, { params, body: { verdict: 'approve', headSha, payloadHash } })
    await world.until(async () => (await world.state(ticketId)) === 'done')
  })
})

test('of a planned ticket the author is whoever started the build, by --yes too', async () => {
  await using place = await sqlitePlace()
  await using world = await reviewWorld(place, { settings: { review: { notAuthor: true } } })
  const second = await world.as('second')
  const { ticketId, params, headSha, payloadHash } = await inReview(world)
  await world.server.context.db.write(async (trx) => {
    const now = Date.now()
    const { repository_id: repositoryId } = await trx.selectFrom('tickets').select('repository_id').where('id', '=', ticketId).executeTakeFirstOrThrow()
    await trx.insertInto('design_sessions').values({
      id: 'SES-1', project_id: world.projectId, repository_id: repositoryId, title: 's', state: 'cancelled', base_sha: headSha, spec_version: 1, plan: null, plan_hash: null, max_cost_micro_usd: null, token_cap: 4_000, model_label: 'rehearsal', failure: null,
      correlation_id: 'test', created_at: now, updated_at: now,
    }).execute()
    await trx.insertInto('approvals').values({
      id: 'APR-00000001', project_id: world.projectId, kind: 'build_start', subject_kind: 'session', subject_id: 'SES-1', requester: 'designer', payload: '{}', payload_hash: 'x', status: 'approved', decided_by: 'admin second (--yes)', decided_at: now,
      decision_reason: '', yes_allowed: 1, used_at: now, expires_at: null, created_at: now,
    }).execute()
    await trx.updateTable('tickets').set({ session_id: 'SES-1', requested_by: null }).where('id', '=', ticketId).execute()
  })
  const approve = { verdict: 'approve' as const, headSha, payloadHash }
  await expect(second.call(submitReview, { params, body: approve })).rejects.toMatchObject({ code: 'reviewer_is_author' })
  await world.server.admin.call(submitReview, { params, body: approve })
  await world.until(async () => (await world.state(ticketId)) === 'done')
})

test('what is wrong with a comment or a review is said, and changes nothing', async () => {
  await using place = await sqlitePlace()
  await using world = await reviewWorld(place, { files: BEFORE })
  const { admin } = world.server
  const { params, headSha, payloadHash, ticketId, change } = await inReview(world)
  const comment = { path: 'src/sum.js', line: 1, body: 'x', headSha }
  const refused = async (code: string, status: number, call: Promise<unknown>) => { await expect(call).rejects.toMatchObject({ status, code }) }
  const draft = (body: object) => admin.call(addComment, { params, body: { ...comment, ...body } })
  await refused('comment_place_unknown', 422, draft({ line: 6 }))
  await refused('comment_place_unknown', 422, draft({ path: 'src/none.js' }))
  await refused('comment_place_unknown', 422, draft({ path: '../etc/passwd' }))
  await refused('comment_place_unknown', 422, draft({ line: 2, side: 'old' }))
  await refused('invalid_input', 400, draft({ line: 1, startLine: 2 }))
  await refused('invalid_input', 400, draft({ body: 'x'.repeat(20_001) }))
  await refused('review_outdated', 409, draft({ headSha: change.baseSha }))
  const review = (body: { verdict: 'approve' | 'request_changes' | 'comment'; headSha?: string; payloadHash?: string; summary?: string }) => admin.call(submitReview, { params, body: { headSha, ...body } })
  await refused('invalid_input', 400, review({ verdict: 'approve' }))
  await refused('payload_changed', 409, review({ verdict: 'approve', payloadHash: '0'.repeat(64) }))
  await refused('review_outdated', 409, review({ verdict: 'approve', payloadHash, headSha: change.baseSha }))
  await refused('invalid_input', 400, review({ verdict: 'request_changes' }))
  await refused('invalid_input', 400, review({ verdict: 'comment', summary: '  ' }))
  await refused('not_found', 404, admin.call(submitReview, { params: { changeId: 'CHG-NONE' }, body: { verdict: 'comment', summary: 'x', headSha } }))
  await refused('not_found', 404, admin.call(resolveComment, { params: { ...params, commentId: 'CMT-NONE' }, body: { resolved: true } }))
  const token = await world.server.context.db.write(async (trx) => (await mintToken(trx, { kind: 'attempt', subjectId: 'ATT-1', fence: 1 })).token)
  await refused('wrong_caller', 403, world.server.as(token).call(submitReview, { params, body: { verdict: 'approve', headSha, payloadHash } }))
  await refused('unauthenticated', 401, world.server.as().call(listComments, { params, query: {} }))
  expect(await world.state(ticketId)).toBe('in_review')
  expect((await admin.call(listReviews, { params, query: {} })).items).toEqual([])
  expect((await admin.call(listComments, { params, query: {} })).items).toEqual([])
})

test('what policies let an agent merge by itself is merged in their name, what they forbid waits on hold, and what is not clean is a person\'s', async () => {
  await using place = await sqlitePlace()
  await using world = await reviewWorld(place, { files: BEFORE })
  const { admin } = world.server
  const policy = (policyId: string, body: { version: number; cedar?: string; enabled?: boolean }) => admin.call(setPolicy, { params: { organizationId: 'default', policyId }, body })
  await policy('merge-needs-a-person', { version: 0, enabled: false })
  const free = await world.ticket('Free')
  await world.handIn({ 'src/sum.js': LINES })
  await world.until(async () => ['merging', 'done'].includes(await world.state(free)))
  const decided = async (ticketId: string) => {
    const { items: [change] } = await admin.call(listChanges, { query: { ticketId } })
    return (await admin.call(listApprovals, { query: { subjectId: change!.id } })).items.map(({ status, decidedBy }) => `${status} by ${decidedBy}`)
  }
  expect(await decided(free)).toEqual(['approved by policy agents-work'])
  await policy('never', { version: 0, cedar: 'forbid (principal is Agent, action == Action::"change:merge", resource);' })
  const kept = await world.ticket('Kept')
  await world.handIn({ 'src/other.js': 'four\n' })
  await world.until(async () => await world.state(kept) === 'on_hold')
  expect(await decided(kept)).toEqual(['rejected by policy never'])
})
