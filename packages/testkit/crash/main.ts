import { parseArgs } from 'node:util'
import { crashWalk } from './walk.ts'

/*
 * Walks every boundary of an attempt, its merge and its approval with a kill there: npm run crash-walk -- [--victim server|runner]
 * [--from N] [--every K]. Progress on stderr; one JSON object on the last line of stdout. Exit 1 when one did not recover.
 */

const { values } = parseArgs({ options: { victim: { type: 'string' }, from: { type: 'string' }, every: { type: 'string' } } })
const victims = values.victim === 'server' || values.victim === 'runner' ? [values.victim] as const : ['server', 'runner'] as const
const startedAt = performance.now()
const walks = []
for (const victim of victims) {
  walks.push(await crashWalk({
    victim, every: Number(values.every ?? 1), from: Number(values.from ?? 1),
    onStep: ({ at, label, problems }) => { process.stderr.write(`${problems.length === 0 ? '✓' : '✗'} ${victim} ${at} ${label}${problems.map((problem) => `\n    ${problem}`).join('')}\n`) },
  }))
}
const failures = walks.flatMap(({ failures: failed }) => failed)
process.stdout.write(`${JSON.stringify({ walked: walks.map(({ victim, boundaries, walked }) => ({ victim, boundaries, walked })), failures, wallMs: Math.round(performance.now() - startedAt) })}\n`)
process.exitCode = failures.length === 0 ? 0 : 1
