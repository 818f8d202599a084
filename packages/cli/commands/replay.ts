import { z } from 'zod'
import { command } from '../command.ts'
import { EXIT } from '../exit-codes.ts'
import { connect } from '../platform/connect.ts'
import { replayAttempt, type ReplayReport, type StayReport } from '../replay/replay.ts'

export const replay = command({
  name: 'replay',
  summary: 'Runs an attempt again with the recorded answers of the model, and says where it diverges',
  description: 'A fresh microVM starts from the same commit with the same task; the n-th request gets the n-th recorded\nanswer, so nothing is paid. Every request is compared with the recorded one, and the resulting tree. The\noriginal is not touched; the work is kept as refs/swarm/replays/…. Exit code 0: it went the same way; 1: not.',
  examples: [['swarm replay ATT-7Q2M9XKD', 'the ids are in "swarm ticket show"'], ['swarm replay ATT-7Q2M9XKD --network', 'it may reach the hosts that the attempt could reach, with whatever effect that has there']],
  arguments: [{ name: 'attempt', description: 'the attempt' }],
  options: [{ flags: '--network', description: 'give it the hosts of the original; without it, it reaches none' }],
  input: z.object({ attempt: z.string().min(1), network: z.boolean().default(false) }),
  async run({ attempt, network }, { settings, signal, io }) {
    const { config } = settings()
    const { client } = connect(config)
    const report = await replayAttempt({ client, attemptId: attempt, home: config.home, cache: config.cache, network, signal, onProgress: (words) => { io.say(words) } })
    return { json: { ...report }, text: describe(report), exitCode: report.same ? EXIT.ok : EXIT.failed }
  },
})

function describe(report: ReplayReport): string {
  const { recorded, replayed } = report.images
  const lines = report.stays.flatMap((stay, at) => [`  stay ${at + 1} from ${stay.startSha.slice(0, 12)}${stay.ref === null ? '' : `, kept as ${stay.ref}`}`, ...describeStay(stay).map((line) => `    ${line}`)])
  return [
    `${report.same ? 'SAME' : 'DIVERGED'}  ${report.attemptId} as ${report.replayId} (model: REPLAY of the recording, no cost; driver ${report.driver})`, ...lines,
    ...recorded.length > 0 && replayed.some((digest) => !recorded.includes(digest)) ? ['  the guest image is another one than at that time'] : [],
  ].join('\n')
}

function describeStay({ model, tree, outcome, unanswered }: StayReport): string[] {
  return [
    `model    ${model.asked} of ${model.recorded} requests: ${model.same} the same, ${model.alike} but for durations and folders, ${model.different} different${unanswered > 0 ? `; ${unanswered} more got no answer then` : ''}`,
    ...model.divergences.flatMap(({ turn, path, recorded, replayed }) => [`turn ${turn} ${path}`, `  recorded ${JSON.stringify(recorded)}`, `  replayed ${JSON.stringify(replayed)}`]),
    `outcome  ${outcome.replayed}${model.endedUnanswered ? `, as the call that got no answer then (${outcome.recorded}) got none now` : outcome.replayed === outcome.recorded ? '' : `, then it was ${outcome.recorded}: ${outcome.message.split('\n')[0] ?? ''}`}`,
    `tree     ${tree.same ? 'the same' : tree.recorded === null || tree.replayed === null ? 'there is none to compare' : `differs in ${tree.files.map(({ status, path }) => `${status} ${path}`).join(', ')}`}`,
  ]
}
