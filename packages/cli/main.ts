import { readFileSync } from 'node:fs'
import { commands } from './commands.ts'
import { settings } from './config.ts'
import { Interrupted, paragraph, reportOf, type Report } from './errors.ts'
import { createIo } from './io.ts'
import { createProgram, Printed, readInput } from './program.ts'

/*
 * `swarm`: finds the command, runs it, and says what came of it. Exit codes are those of exit-codes.ts. With --json the last
 * line of stdout is one JSON object, `{"error": …}` when it failed.
 */

const VERSION = (JSON.parse(readFileSync(new URL('./package.json', import.meta.url), 'utf8')) as { version: string }).version

async function main(argv: readonly string[]): Promise<number> {
  const json = argv.includes('--json')
  const io = createIo({ json })
  const interrupt = listenForSignals()
  try {
    const call = await createProgram(commands, VERSION).parse(argv)
    const outcome = await call.command.run(readInput(call), { io, signal: interrupt, settings: (given) => settings({ ...(call.server === undefined ? {} : { 'client.server': call.server }), ...given }) })
    io.status(null)
    if (call.json) await write(process.stdout, `${JSON.stringify(outcome.json)}\n`)
    else if (outcome.text !== undefined && outcome.text !== '') io.result(outcome.text)
    return outcome.exitCode ?? 0
  } catch (error) {
    io.status(null)
    if (error instanceof Printed) {
      await write(process.stdout, `${error.message.trimEnd()}\n`)
      return 0
    }
    // Whoever reads the output has what he wanted (`| head`): as if the signal of the broken pipe had ended this.
    if (error instanceof Error && 'code' in error && error.code === 'EPIPE') return 141
    const report = reportOf(interrupt.aborted && !(error instanceof Interrupted) && isAbort(error) ? interrupt.reason : error)
    await tell(report, json, io.style('red', 'swarm:'))
    return report.exitCode
  }
}

async function tell(report: Report, json: boolean, name: string): Promise<void> {
  if (report.stack !== undefined) await write(process.stderr, `${report.stack}\n`)
  await write(process.stderr, `${name} ${paragraph(report)}\n`)
  if (json) await write(process.stdout, `${JSON.stringify({ error: { code: report.code, message: report.message, remedy: report.remedy } })}\n`)
}

/** The first signal asks for an orderly end, the second one ends at once; what was started dies with this process. */
function listenForSignals(): AbortSignal {
  const interrupt = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      if (interrupt.signal.aborted) process.exit(new Interrupted(name).exitCode)
      interrupt.abort(new Interrupted(name))
    })
  }
  return interrupt.signal
}

const isAbort = (error: unknown): boolean => error instanceof Error && (error.name === 'AbortError' || error.name === 'TimeoutError')

/** Resolves when the text is out: a pipe's reader may be slow, and the process ends next. */
function write(stream: NodeJS.WriteStream, text: string): Promise<void> {
  return new Promise((resolve) => { stream.write(text, () => { resolve() }) })
}

// Whoever reads our output may have gone (a closed terminal, `| head`): that is no reason to leave anything running.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined)
process.exitCode = await main(process.argv.slice(2))
// Nothing of ours is open any more; a library's idle connection must not keep the prompt waiting.
process.exit()
