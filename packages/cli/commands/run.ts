import { z } from 'zod'
import { command } from '../command.ts'
import { userPath } from '../config.ts'
import { UserError } from '../errors.ts'
import { execute } from '../run/execute.ts'
import { readableFile, readSource, readSpec, slugOf } from '../run/inputs.ts'

/** Dollars on the command line; micro-dollars inside. */
export const MaxCost = z.coerce.number('give dollars, such as 2.50').positive('give dollars above 0').max(10_000).transform((usd) => Math.round(usd * 1e6)).optional()

export const run = command({
  name: 'run',
  summary: 'Turns a spec into merged, tested changes on a repository',
  description: 'Imports the repository (your files and branches are never touched), plans the spec, has agents do the tickets in microVMs,\nand merges what passes. Uses the platform that runs on this home folder, else one of its own for this run. Run again after an\ninterruption, it goes on with the same session.',
  examples: [
    ['swarm run --spec SPEC.md --repo .', 'asks at the gates'],
    ['swarm run --spec SPEC.md --repo ../shop --rehearsal script.yml --yes', 'a script plays the model, nobody is asked'],
    ['swarm run --spec SPEC.md --repo https://example.org/shop.git --yes --max-cost 2 --push', 'unattended, at most $2, and pushed at the end'],
    ['swarm run --spec SPEC.md --new shop', 'in a new repository'],
  ],
  options: [
    { flags: '--spec <file>', description: 'Markdown with requirements as list items' },
    { flags: '--repo <path|url>', description: 'the repository that it is built in' },
    { flags: '--new <name>', description: 'instead of --repo: a new repository' },
    { flags: '--rehearsal <file>', description: 'script that the rehearsal model plays instead of Claude ("swarm rehearsal init SPEC" writes one)' },
    { flags: '--yes', description: 'approves the plan, the build and clean merges (checks ran and passed, no warnings); never budgets, deletions or infrastructure' },
    { flags: '--push', description: 'at the end, fast-forwards the origin to the result' },
    { flags: '--max-cost <usd>', description: 'ceiling of model calls in dollars (5 unless the settings say otherwise)' },
    { flags: '--model <name>', description: 'model of design and of new agents' },
    { flags: '--allow-dirty', description: 'work on the last commit although there are uncommitted changes' },
    { flags: '--clarify', description: 'let the designer ask about what the spec leaves open' },
    { flags: '--fresh', description: 'start a new session even if an earlier one of this spec is unfinished' },
  ],
  input: z.object({
    spec: z.string({ error: 'give the Markdown file that says what is wanted' }), repo: z.string().optional(), new: z.string().optional(), rehearsal: z.string().optional(), yes: z.boolean().default(false),
    push: z.boolean().default(false), maxCost: MaxCost, model: z.string().min(1).optional(), allowDirty: z.boolean().default(false), fresh: z.boolean().default(false), clarify: z.boolean().default(false),
  }),
  async run({ spec: specFile, repo, new: fresh, rehearsal, maxCost, allowDirty, model, ...flags }, { io, signal, settings }) {
    if ((repo === undefined) === (fresh === undefined)) throw new UserError('misuse', 'Give either --repo with an existing repository, or --new with the name of a new one.', '"swarm run --help" shows how it is used.')
    const { config } = settings()
    const specPath = userPath(specFile)
    const spec = await readSpec(specPath)
    const script = rehearsal === undefined ? undefined : userPath(rehearsal)
    if (script !== undefined) await readableFile(script, 'The rehearsal script')
    const source = fresh !== undefined ? { kind: 'new' as const, slug: slugOf(fresh) } : await readSource(repo ?? '', { allowDirty, files: [specPath, ...(script === undefined ? [] : [script])] })
    const { summary, text, exitCode } = await execute({
      io, signal, config, spec, source, ...flags, maxCostMicroUsd: maxCost ?? config.maxCostMicroUsd, ...(script === undefined ? {} : { rehearsalScript: script }), ...(model === undefined ? {} : { model }),
    })
    return { json: summary, text, exitCode }
  },
})
