import { release } from '@swarm/contract/runner-protocol.ts'
import { reviewWorld } from '@swarm/testkit/platform/review-world.ts'
import { expect, test } from 'vitest'
import type { Command, Outcome } from './command.ts'
import { changeComment } from './commands/change/comment.ts'
import { changeComments } from './commands/change/comments.ts'
import { changeResolve } from './commands/change/resolve.ts'
import { changeReview } from './commands/change/review.ts'
import { approvalApprove } from './commands/approval/approve.ts'
import { projectSet } from './commands/project/set.ts'
import { questionAnswer } from './commands/question/answer.ts'
import { questionList } from './commands/question/list.ts'
import { questionShow } from './commands/question/show.ts'
import { writeRunFile } from './platform/run-file.ts'

/** Runs commands against a server as the command line does. */
function desk(home: string, url: string) {
  writeRunFile(home, { url, model: 'none', startedAt: 1, processes: [] })
  const said: string[] = []
  return {
    said,
    run: (command: Command, input: Record<string, unknown>): Promise<Outcome> => command.run(command.input.parse(input), { settings: () => ({ config: { home, client: {} } }), signal: new AbortController().signal, io: { say: (line: string) => { said.push(line) } } } as never),
  }
}

test('a change is commented and reviewed from the command line: drafted, sent at once, answered, resolved, approved by two', async () => {
  await using world = await reviewWorld(null)
  const { run, said } = desk(world.home, world.server.url)
  await run(projectSet, { name: 'p', reviewers: '2', notAuthor: 'no' })
  const ticketId = await world.ticket('Add')
  await world.handIn({ 'src/sum.js': 'export const sum = (a, b) => a - b\n' })
  await world.asked(ticketId)

  const drafted = await run(changeComment, { id: ticketId, file: 'src/sum.js', line: '1', text: ['Add,', 'do', 'not', 'subtract.'] })
  expect(drafted.text).toMatch(/^CMT-\w+ {2}src\/sum\.js:1 {2}admin admin {2}\(draft\)\n {2}\| export const sum = \(a, b\) => a - b\n {2}Add, do not subtract\.\nsent with: swarm change review CHG-/)
  expect(() => changeComment.input.parse({ id: ticketId, file: 'src/sum.js', text: ['x'] })).toThrow(/--file and --line go together/)
  const scrap = await run(changeComment, { id: ticketId, file: 'src/sum.js', line: '1-1', text: ['no'] })
  await run(changeComment, { id: ticketId, discard: scrap.json['id'] })
  const sent = await run(changeReview, { id: ticketId, verdict: 'request-changes', summary: 'Not yet.' })
  expect(sent.json).toMatchObject({ verdict: 'request_changes', comments: 1 })
  const commentId = String(drafted.json['id'])
  await run(changeComment, { id: ticketId, reply: commentId, text: ['Please.'] })

  await world.handIn({ 'src/sum.js': '// sums\nexport const sum = (a, b) => a + b\n' })
  await world.asked(ticketId)
  const shown = (await run(changeComments, { id: ticketId })).text ?? ''
  expect(shown).toMatch(/admin admin: request changes at [0-9a-f]{12}, 1 comment\n {2}Not yet\./)
  expect(shown).toMatch(/src\/sum\.js:1 {2}admin admin {2}\(outdated: made on [0-9a-f]{12}\)/)
  expect(shown).toContain('      Please.')
  expect(shown).toMatch(/0 of 2 approvals; the approval is APR-/)
  expect((await run(changeResolve, { id: ticketId, comment: commentId })).text).toContain('resolved by admin admin')
  expect((await run(changeComments, { id: ticketId, open: true })).json['comments']).toEqual([])

  const { standing } = await world.asked(ticketId)
  expect((await run(approvalApprove, { id: standing.approval!.id })).text).toBe(`You approved ${standing.approval!.id}; more people must, before it is decided`)
  expect((await run(changeReview, { id: ticketId, verdict: 'approve' })).text).toContain('1 of 2 approvals (admin admin)')
  expect(said.join('\n')).toContain('Merge of CHG-')
  await run(projectSet, { name: 'p', reviewers: '1' })
  expect((await run(changeReview, { id: ticketId, verdict: 'approve' })).text).toContain('It is approved')
  await world.until(async () => (await world.state(ticketId)) === 'done')
})

test('a question is listed, shown with its options, and answered by one of them; who answered stays with it', async () => {
  await using world = await reviewWorld(null)
  const { run } = desk(world.home, world.server.url)
  const ticketId = await world.ticket('Write')
  const work = await world.claim()
  await world.runner.call(release, { body: { kind: 'attempt', id: work.attemptId, fence: work.fence, reason: 'question', wipSha: null, question: { text: 'Tabs or spaces?', options: ['Tabs', 'Spaces, two'], toolUseId: 'toolu_1', transcript: [] } } })
  const listed = await run(questionList, {})
  expect(listed.text).toMatch(/^QST-\w+ {2}open {2}TKT-\w+, asked .*\n {2}Tabs or spaces\?\n {4}1\. Tabs\n {4}2\. Spaces, two$/)
  const { id } = (listed.json['questions'] as { id: string }[])[0]!
  await expect(run(questionAnswer, { id, option: '3' })).rejects.toMatchObject({ code: 'no_such_option' })
  expect(() => questionAnswer.input.parse({ id })).toThrow(/say either an answer or --option/)
  expect((await run(questionAnswer, { id, option: '2' })).json).toMatchObject({ answer: 'Spaces, two', answeredBy: 'admin admin', state: 'answered' })
  expect((await run(questionShow, { id })).text).toMatch(/answered by admin admin, .*: Spaces, two$/)
  expect((await world.claim()).task).toMatchObject({ resume: { answer: 'Spaces, two' }, ticket: { id: ticketId } })
  expect((await run(questionList, { all: true })).json['questions']).toMatchObject([{ id, state: 'answered' }])
  await expect(run(questionShow, { id: 'QST-NONE' })).rejects.toMatchObject({ status: 404 })
})
