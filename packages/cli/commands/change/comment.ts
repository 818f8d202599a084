import { showChange } from '@swarm/contract/endpoints/changes.ts'
import { addComment, discardComment, replyToComment } from '@swarm/contract/endpoints/reviews.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'
import { shownComment } from './comments.ts'

/** `12` or `12-15`. */
const Lines = z.string().regex(/^\d{1,8}(?:-\d{1,8})?$/, 'give a line such as 12, or lines such as 12-15').transform((text) => {
  const [first = 0, last = first] = text.split('-').map(Number)
  return { startLine: first, line: last }
})

export const changeComment = command({
  name: 'change comment',
  summary: 'Drafts a comment on lines of a change, or answers one',
  description: 'A draft is sent with your review ("swarm change review"), together with all others. An answer is sent at once.',
  examples: [
    ['swarm change comment CHG-7Q2M9XKD --file src/sum.js --line 2-3 "This subtracts."', 'drafted'],
    ['swarm change comment CHG-7Q2M9XKD --reply CMT-2M9XKD7Q "Only until R4 is built."', 'sent'], ['swarm change comment CHG-7Q2M9XKD --discard CMT-2M9XKD7Q', 'throws a draft of yours away'],
  ],
  arguments: [{ name: 'id', description: 'the change, or its ticket' }, { name: 'text', description: 'what you say', variadic: true, optional: true }],
  options: [
    { flags: '--file <path>', description: 'the file, as the diff names it' }, { flags: '--line <lines>', description: 'a line, or two of them joined by a hyphen' }, { flags: '--old', description: 'lines that the change takes away' },
    { flags: '--reply <comment>', description: 'answers a comment that was sent' }, { flags: '--discard <comment>', description: 'throws a draft of yours away' },
  ],
  input: z.object({ id: z.string(), text: z.array(z.string()).default([]), file: z.string().optional(), line: Lines.optional(), old: z.boolean().default(false), reply: z.string().optional(), discard: z.string().optional() })
    .refine(({ reply, discard, file, line }) => [reply, discard, file ?? line].filter((each) => each !== undefined).length === 1, { path: ['file'], message: 'say --file and --line, or --reply, or --discard' })
    .refine(({ file, line }) => (file === undefined) === (line === undefined), { path: ['line'], message: '--file and --line go together' })
    .refine(({ text, discard }) => (text.length === 0) === (discard !== undefined), { path: ['text'], message: 'say something (with --discard, nothing)' }),
  async run({ id, text, file, line, old, reply, discard }, { settings, signal }) {
    const { client } = connect(settings().config)
    const params = { changeId: id }
    const body = text.join(' ')
    if (discard !== undefined) {
      await client.call(discardComment, { params: { ...params, commentId: discard } }, { signal })
      return { json: { discarded: discard }, text: `${discard} is thrown away` }
    }
    if (reply !== undefined) {
      const comment = await client.call(replyToComment, { params: { ...params, commentId: reply }, body: { body } }, { signal })
      return { json: comment, text: shownComment(comment) }
    }
    const { headSha } = await client.call(showChange, { params }, { signal })
    const comment = await client.call(addComment, { params, body: { path: file ?? '', ...line ?? { line: 0 }, side: old ? 'old' : 'new', body, headSha } }, { signal })
    return { json: comment, text: `${shownComment(comment)}\nsent with: swarm change review ${comment.changeId} …` }
  },
})
