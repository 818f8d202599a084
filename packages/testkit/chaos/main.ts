import { parseArgs } from 'node:util'
import { Invariant } from '@swarm/contract/integrity.ts'
import { z } from 'zod'
import { runChaos } from './run.ts'

/*
 * npm run chaos -- --seconds N --seed S [--driver auto|qemu|process] [--database postgres|URL] [--plant I1…I10] [--keep FOLDER] [--json]:
 * docs/chaos.md. Progress on stderr; the last line of stdout is the result as JSON. Exit 0: no violation and every ticket
 * accounted for; 1: otherwise; 2: misuse.
 */

const Options = z.strictObject({
  seconds: z.coerce.number().positive().max(86_400).default(60), seed: z.coerce.number().int().default(1),
  driver: z.enum(['auto', 'qemu', 'process']).default('auto'), database: z.string().min(1).optional(), plant: Invariant.optional(), keep: z.string().min(1).optional(), json: z.boolean().default(false),
})

function readOptions(): z.infer<typeof Options> {
  const { values } = parseArgs({ options: { seconds: { type: 'string' }, seed: { type: 'string' }, driver: { type: 'string' }, database: { type: 'string' }, plant: { type: 'string' }, keep: { type: 'string' }, json: { type: 'boolean' } } })
  return Options.parse(values)
}

async function main(): Promise<number> {
  let options
  try {
    options = readOptions()
  } catch (error) {
    process.stderr.write(`${error instanceof z.ZodError ? z.prettifyError(error) : String(error)}\nusage: npm run chaos -- --seconds N --seed S [--driver auto|qemu|process] [--database postgres|URL] [--plant I1…I10] [--keep FOLDER] [--json]\n`)
    return 2
  }
  const stop = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => { stop.abort(new Error(`stopped by ${name}`)) })
  const startedAt = performance.now()
  const result = await runChaos({
    ...options, signal: stop.signal,
    onNote: (line) => { process.stderr.write(`${((performance.now() - startedAt) / 1_000).toFixed(1).padStart(7)} s  ${line}\n`) },
  })
  process.stdout.write(`${JSON.stringify(result, null, options.json ? undefined : 2)}\n`)
  // A run in which nothing was broken, or nothing was merged, has shown nothing.
  return result.violations.length === 0 && result.unsettled.length === 0 && result.faults > 0 && result.merges > 0 ? 0 : 1
}

try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(`the chaos run could not be carried out: ${error instanceof Error ? error.stack ?? error.message : String(error)}\n`)
  process.exitCode = 1
}
