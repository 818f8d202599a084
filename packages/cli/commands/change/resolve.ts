import { resolveComment } from '@swarm/contract/endpoints/reviews.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'
import { shownComment } from './comments.ts'

export const changeResolve = command({
  name: 'change resolve',
  summary: 'Says that a comment is dealt with: agents are not given it any more',
  examples: [['swarm change resolve CHG-7Q2M9XKD CMT-2M9XKD7Q', 'dealt with'], ['swarm change resolve CHG-7Q2M9XKD CMT-2M9XKD7Q --reopen', 'not after all']],
  arguments: [{ name: 'id', description: 'the change, or its ticket' }, { name: 'comment', description: 'the comment' }],
  options: [{ flags: '--reopen', description: 'not after all' }],
  input: z.object({ id: z.string(), comment: z.string(), reopen: z.boolean().default(false) }),
  async run({ id, comment, reopen }, { settings, signal }) {
    const resolved = await connect(settings().config).client.call(resolveComment, { params: { changeId: id, commentId: comment }, body: { resolved: !reopen } }, { signal })
    return { json: resolved, text: shownComment(resolved) }
  },
})
