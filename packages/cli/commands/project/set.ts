import { updateProject } from '@swarm/contract/endpoints/projects.ts'
import { VmLimits } from '@swarm/contract/runner-protocol.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

const NONE = z.literal('none').transform(() => null)
const usd = z.union([NONE, z.coerce.number('give dollars or "none"').min(0).max(1_000_000).transform((dollars) => Math.round(dollars * 1_000_000))]).optional()
const tokens = z.union([NONE, z.coerce.number('give a number or "none"').int().min(0)]).optional()

/** `cpu=2` and so on, as one object; the word `none` alone takes all of them away. */
const Vm = z.array(z.string()).transform((words, context) => {
  const pairs = words.length === 1 && words[0] === 'none' ? [] : words.map((word) => word.split('='))
  const parsed = z.strictObject(VmLimits.partial().shape).safeParse(Object.fromEntries(pairs.map(([name = '', value = '']) => [name, value === '' ? value : Number(value)])))
  if (parsed.success) return parsed.data
  context.addIssue({ code: 'custom', message: `give limits as ${Object.keys(VmLimits.shape).join('=…, ')}=…, or "none"` })
  return z.NEVER
}).optional()

export const projectSet = command({
  name: 'project set',
  summary: 'Changes settings of a project; what is not named stays',
  examples: [['swarm project set shop --concurrency 4', 'at most four tickets at once'], ['swarm project set shop --attempt-usd 1 --ticket-usd 4', 'ceilings of each attempt and of each ticket'], ['swarm project set shop --reviewers 2 --agent-review advise', 'two people approve each change, and see what the agent reviewer says'], ['swarm project set shop --vm cpu=2 memoryMb=2048', 'no microVM of it gets more, whatever swarm.yml or an agent says']],
  arguments: [{ name: 'name', description: 'the project, by id or slug' }],
  options: [
    { flags: '--concurrency <number>', description: 'tickets that are worked on at once' }, { flags: '--visibility <who>', description: 'who sees it: organization (every member of it) or members (its own alone)' }, { flags: '--allow <host...>', description: 'hosts that its microVMs may reach, in place of those now allowed' },
    { flags: '--vm <limit...>', description: 'limits of its microVMs, as name=number, in place of those it has; "none" for none' },
    { flags: '--reviewers <number>', description: 'different people who must approve a change before it is merged' }, { flags: '--agent-review <mode>', description: 'off, advise (people are shown its opinion) or require (it also sends changes back, twice at most)' },
    { flags: '--minimum-score <number>', description: 'of 100, below which the agent reviewer is not content' }, { flags: '--not-author <yes|no>', description: 'whoever ordered the work does not count among those who approve' },
    { flags: '--ticket-usd <dollars>', description: 'ceiling of each ticket; "none" for none' }, { flags: '--ticket-tokens <number>', description: 'the same in tokens' },
    { flags: '--attempt-usd <dollars>', description: 'ceiling of each attempt that starts from now on; "none" for none' }, { flags: '--attempt-tokens <number>', description: 'the same in tokens' },
  ],
  input: z.object({ name: z.string(), visibility: z.enum(['organization', 'members'], 'give organization or members').optional(), concurrency: z.coerce.number('give a number').int().min(1).optional(), allow: z.array(z.string()).optional(), vm: Vm, reviewers: z.coerce.number('give a number').int().min(1).max(10).optional(),
    agentReview: z.enum(['off', 'advise', 'require'], 'choose off, advise or require').optional(), minimumScore: z.coerce.number('give a number').int().min(0).max(100).optional(), notAuthor: z.enum(['yes', 'no'], 'say yes or no').optional(), ticketUsd: usd, ticketTokens: tokens, attemptUsd: usd, attemptTokens: tokens }),
  async run({ name, visibility, concurrency, allow, vm, reviewers, agentReview, minimumScore, notAuthor, ticketUsd, ticketTokens, attemptUsd, attemptTokens }, { settings, signal }) {
    const review = Object.fromEntries(Object.entries({ people: reviewers, agent: agentReview, minimumScore, notAuthor: notAuthor === undefined ? undefined : notAuthor === 'yes' }).filter(([, value]) => value !== undefined))
    const patch = { review: Object.keys(review).length === 0 ? undefined : review, visibility, concurrency, egressAllow: allow, vm, ticketMaxCostMicroUsd: ticketUsd, ticketMaxTokens: ticketTokens, attemptMaxCostMicroUsd: attemptUsd, attemptMaxTokens: attemptTokens }
    const { client } = connect(settings().config)
    const project = await client.call(updateProject, { params: { projectId: name }, body: { settings: Object.fromEntries(Object.entries(patch).filter(([, value]) => value !== undefined)) } }, { signal })
    return { json: project, text: Object.entries(project.settings).map(([setting, value]) => `${setting}: ${JSON.stringify(value)}`).join('\n') }
  },
})
