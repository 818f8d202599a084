import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { command } from '../../command.ts'
import { CHECKOUT, childEnvironment, userPath } from '../../config.ts'
import { UserError } from '../../errors.ts'
import { readSpec, shownPath } from '../../run/inputs.ts'

export const rehearsalInit = command({
  name: 'rehearsal init',
  summary: 'Writes a starter script of the rehearsal model for a spec',
  description: 'The script says what the model answers, for the designer and for each ticket. docs/rehearsal.md is its manual.',
  examples: [['swarm rehearsal init SPEC.md', 'writes SPEC.rehearsal.yml beside it'], ['swarm rehearsal init SPEC.md --out script.yml --force', 'to that file, whatever is in it']],
  arguments: [{ name: 'spec', description: 'Markdown with requirements' }],
  options: [{ flags: '--out <file>', description: 'the script' }, { flags: '--force', description: 'replace what is there' }],
  input: z.object({ spec: z.string(), out: z.string().optional(), force: z.boolean().default(false) }),
  async run({ spec, out, force }) {
    const path = userPath(spec)
    await readSpec(path)
    const script = out === undefined ? `${path.replace(/\.(md|markdown)$/i, '')}.rehearsal.yml` : userPath(out)
    if (existsSync(script) && !force) throw new UserError('file_exists', `${script} exists already and was left as it is.`, 'Give another --out, or --force to replace it.')
    await new Promise<void>((resolve, reject) => {
      execFile(process.execPath, [join(CHECKOUT, 'packages', 'testkit', 'rehearsal', 'init.ts'), path, '--out', script, '--force'], { env: childEnvironment({}) }, (error, _, stderr) => {
        if (error) reject(new UserError('script_not_written', `The script could not be written: ${stderr.trim() || error.message}`, 'Mend what it says and run it again.'))
        else resolve()
      })
    })
    return { json: { script }, text: `Wrote ${shownPath(script)}. Fill in what its agents do, then: swarm run --spec ${spec} --repo PATH --rehearsal ${shownPath(script)}` }
  },
})
