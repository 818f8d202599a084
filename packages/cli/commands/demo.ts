import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { z } from 'zod'
import { parseJson } from '@swarm/core/json.ts'
import { command } from '../command.ts'
import { CHECKOUT, childEnvironment } from '../config.ts'
import { freshDemoHome } from '../platform/demo-home.ts'
import { execute, type RunRequest } from '../run/execute.ts'
import { readableFile, readSpec } from '../run/inputs.ts'
import { MaxCost } from './run.ts'

const FOLDER = join(CHECKOUT, 'packages', 'testkit', 'demo')
/** `packages/testkit/demo/demo.json`; files are beside it. */
const Demo = z.object({
  title: z.string(), spec: z.string(), script: z.string(), repositorySlug: z.string(), swarmYml: z.string().optional(), readme: z.string().optional(),
  answers: z.array(z.object({ match: z.string(), answer: z.string() })),
  /** Program that proves the end state: `node verify.ts REPOSITORY`. */
  verify: z.string(),
})
const Proof = z.object({ ok: z.boolean(), head: z.string(), tests: z.object({ passed: z.number(), failed: z.number() }), entry: z.object({ modules: z.array(z.string()) }), problems: z.array(z.string()) })

export const demo = command({
  name: 'demo',
  summary: 'Shows the main job on a sample: spec, plan, agents in microVMs, gate, checks, merges',
  description: 'The model is a rehearsal (a script) unless --model claude; everything else is real. Its data is in the folder demo of the home\nfolder and stays until the next demo, which keeps the one before as demo.previous. In a terminal it goes on serving until Ctrl-C.',
  examples: [['swarm demo', 'watch it, then look around'], ['swarm demo --exit', 'stop everything at the end'], ['swarm demo --json', 'the same for programs'], ['swarm demo --model claude --max-cost 3', 'with Claude, at most $3']],
  options: [
    { flags: '--exit', description: 'stop everything at the end, in a terminal too' },
    { flags: '--model <name>', description: 'rehearsal, claude, or the name of a Claude model' },
    { flags: '--max-cost <usd>', description: 'with --model: ceiling in dollars (5 unless the settings say otherwise)' },
    { flags: '--yes', description: 'with --model: agree to the ceiling without being asked' },
  ],
  input: z.object({ exit: z.boolean().default(false), model: z.string().min(1).default('rehearsal'), maxCost: MaxCost, yes: z.boolean().default(false) }),
  async run({ exit, model, maxCost, yes }, { io, signal, settings }) {
    const sample = Demo.parse(parseJson(await readableFile(join(FOLDER, 'demo.json'), 'The demo')))
    const text = async (name: string | undefined): Promise<string | undefined> => (name === undefined ? undefined : await readableFile(join(FOLDER, name), 'The demo\'s file'))
    const home = await freshDemoHome(settings().config.home, settings().config.cache, signal)
    const { config } = settings({ home })
    const staying = !exit && !io.json && process.stdout.isTTY === true
    const request: RunRequest = {
      io, signal, config, spec: await readSpec(join(FOLDER, sample.spec)), ownPort: 0, push: false, fresh: true, maxCostMicroUsd: maxCost ?? config.maxCostMicroUsd,
      source: { kind: 'new', slug: sample.repositorySlug, readme: await text(sample.readme), swarmYml: await text(sample.swarmYml) },
      // The demo's own database, whatever database the environment names.
      env: { DATABASE_URL: undefined, SWARM_DATABASE_URL: undefined },
      agreed: model === 'rehearsal' || yes, yes: true,
      ...(model === 'rehearsal' ? { rehearsalScript: join(FOLDER, sample.script) } : model === 'claude' ? {} : { model }),
      knownAnswer: (question) => sample.answers.find(({ match }) => question.includes(match))?.answer,
      prove: async ({ path }) => {
        io.status('proving main: a fresh clone, its tests, its page')
        const proof = await prove(join(FOLDER, sample.verify), path)
        if (proof.ok) io.say(`${io.style('green', '✓')} a fresh clone of main (${proof.head.slice(0, 12)}) passes its ${proof.tests.passed} tests and its page starts (${proof.entry.modules.length} modules)`)
        else for (const problem of proof.problems) io.say(`${io.style('red', '✗')} ${problem}`)
        return proof.ok
      },
      ...(staying ? { linger: async (platform, result) => {
        io.result(result.text)
        for (const line of [
          '', `It goes on serving at ${io.style('bold', platform.url)}; Ctrl-C stops it.`, `  API reference   ${platform.url}/reference`, `  look around     SWARM_HOME=${home} swarm ticket list   (also: change diff ID, ticket logs ID, vm list)`,
        ]) io.say(line)
        await new Promise<void>((resolve) => { if (signal.aborted) resolve(); else signal.addEventListener('abort', () => { resolve() }, { once: true }) })
      } } : {}),
    }
    const { summary, text: table, exitCode } = await execute(request)
    return { json: summary, ...(staying ? {} : { text: table }), exitCode }
  },
})

function prove(program: string, repository: string): Promise<z.output<typeof Proof>> {
  return new Promise((resolve) => {
    execFile(process.execPath, [program, repository], { env: childEnvironment({}), maxBuffer: 16_000_000 }, (error, stdout, stderr) => {
      const proof = Proof.safeParse(parseJson(stdout.trim().split('\n').at(-1) ?? ''))
      resolve(proof.success ? proof.data : { ok: false, head: '', tests: { passed: 0, failed: 0 }, entry: { modules: [] }, problems: [`The proof could not be made: ${stderr.trim().slice(-2_000) || String(error)}`] })
    })
  })
}
