import type { Emit } from '../agents/template.ts'
import { runProcess, type ProcessResult } from './process.ts'

/** Bytes of output kept of one command; source: what a model can use without drowning (about 8,000 tokens). */
export const MAX_OUTPUT_BYTES = 30_000
/** Output waits this long for more before a partial event goes out; a full buffer goes out at once. */
const PARTIAL_DELAY_MS = 500
const PARTIAL_CHARS = 8_192
/** After this much live output of one command only its final, bounded event follows. */
const MAX_PARTIAL_CHARS = 262_144

/** Runs `sh -c command` in the workspace and reports it as `command` events: partial ones while it runs, then the final one. */
export async function runCommand(command: string, options: { cwd: string; timeoutMs?: number; emit: Emit; signal: AbortSignal }): Promise<ProcessResult> {
  const startedMs = performance.now()
  let pending = ''
  let sent = 0
  let timer: NodeJS.Timeout | undefined
  const flush = (): void => {
    clearTimeout(timer)
    timer = undefined
    if (pending === '' || sent >= MAX_PARTIAL_CHARS) return
    const output = pending.slice(0, MAX_PARTIAL_CHARS - sent)
    sent += output.length
    pending = ''
    const end = sent >= MAX_PARTIAL_CHARS ? '\n[… live output ends here; the end of the output follows when the command is over …]\n' : ''
    options.emit({ type: 'command', command, exitCode: null, output: output + end, wallMs: performance.now() - startedMs, partial: true })
  }
  try {
    const result = await runProcess(['/bin/sh', '-c', command], {
      cwd: options.cwd,
      // Nobody answers a prompt or pages through output here.
      env: { ...process.env, CI: '1', GIT_TERMINAL_PROMPT: '0', GIT_PAGER: 'cat', PAGER: 'cat' },
      timeoutMs: options.timeoutMs,
      maxOutputBytes: MAX_OUTPUT_BYTES,
      signal: options.signal,
      onOutput: (text) => {
        if (sent >= MAX_PARTIAL_CHARS) return
        pending += text
        if (pending.length >= PARTIAL_CHARS) flush()
        else timer ??= setTimeout(flush, PARTIAL_DELAY_MS)
      },
    })
    options.emit({ type: 'command', command, exitCode: result.exitCode, output: result.output, wallMs: result.wallMs })
    return result
  } finally {
    clearTimeout(timer)
  }
}
