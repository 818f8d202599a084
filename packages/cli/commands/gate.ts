import { runGate } from '@swarm/git/gate.ts'
import { z } from 'zod'
import { command } from '../command.ts'
import { userPath } from '../config.ts'
import { EXIT } from '../exit-codes.ts'

export const gate = command({
  name: 'gate',
  summary: 'Judges what one revision adds to another, by the rules of the output gate',
  description: 'Works in any git repository, without a server. Errors are what an agent may not hand in: files outside of the scope, gutted\nor rewritten files, weakened tests, secrets, junk, broken syntax. Warnings are for a person to look at.',
  examples: [
    ['swarm gate --base main --head HEAD', 'what this branch adds to main'],
    ['swarm gate --base main --head HEAD --scope "src/**" --json', 'only src/ may be touched; findings as JSON'],
  ],
  options: [
    { flags: '--base <rev>', description: 'the revision that it is compared with' },
    { flags: '--head <rev>', description: 'the revision that is judged' },
    { flags: '--scope <glob...>', description: 'gitignore globs that the change may touch; repeat it for several' },
    { flags: '--protect <glob...>', description: 'gitignore globs that only a person may change' },
    { flags: '--generated <glob...>', description: 'gitignore globs of files that tools write' },
    { flags: '--repo <path>', description: 'the repository (this folder unless given)' },
    { flags: '--exact-base', description: 'compare with the base itself, not with where the head left it' },
  ],
  input: z.object({
    base: z.string({ error: 'give the revision to compare with' }).min(1), head: z.string({ error: 'give the revision to judge' }).min(1),
    scope: z.array(z.string()).optional(), protect: z.array(z.string()).optional(), generated: z.array(z.string()).optional(),
    repo: z.string().default('.'), exactBase: z.boolean().default(false),
  }),
  async run({ base, head, repo, exactBase, scope, protect, generated }, { io, signal }) {
    const { clean, findings } = await runGate(userPath(repo), base, head, {
      signal, exactBase, ...(scope === undefined ? {} : { scope }), ...(protect === undefined ? {} : { protect }), ...(generated === undefined ? {} : { generated }),
    })
    const lines = findings.map((finding) => {
      const severity = io.style(finding.severity === 'error' ? 'red' : 'yellow', finding.severity)
      return `${severity} ${finding.code} ${finding.path}${finding.line === null ? '' : `:${finding.line}`}: ${finding.message}\n    ${finding.remedy}`
    })
    const errors = findings.filter(({ severity }) => severity === 'error').length
    return { json: { clean, findings }, text: [...lines, `${errors} errors, ${findings.length - errors} warnings`].join('\n'), exitCode: clean ? EXIT.ok : EXIT.failed }
  },
})
