import { constants } from 'node:os'
import type { StreamStart } from '@swarm/contract/vm-operations.ts'
import type { Context, Outcome } from '../command.ts'
import { connect } from '../platform/connect.ts'
import { streamFromVm, type StreamExit } from './stream.ts'

/** Ctrl-], as telnet has it: leaves a terminal whose other side does not answer. */
const ESCAPE = 0x1d

/** Runs a command in a microVM: with --json its output is in the result, else it is passed on as it comes. Its exit code is the command's. */
export async function runInVm(vmId: string, start: StreamStart, options: { stdin: boolean }, { io, signal, settings }: Context): Promise<Outcome> {
  const { server, token } = connect(settings().config)
  const kept = { stdout: [] as Buffer[], stderr: [] as Buffer[] }
  const terminal = start.terminal !== null
  let onResize = (): void => {}
  if (terminal) process.stdin.setRawMode(true)
  try {
    const exit = await streamFromVm({
      url: server.url, token, vmId, start, signal, stdin: options.stdin ? process.stdin : null, ...(terminal ? { escape: ESCAPE } : {}),
      onStarted: (resize) => {
        if (!terminal) return
        onResize = () => { resize(terminalSize()) }
        process.stdout.on('resize', onResize)
      },
      onOutput: (channel, bytes) => io.json ? Promise.resolve(void kept[channel].push(bytes)) : written(process[channel], bytes),
    })
    const { type: _, ...result } = exit
    if (!io.json && exit.timedOut) io.say(`It ran for longer than its limit of ${start.timeoutMs / 1_000} s and was ended.`)
    if (!io.json && exit.truncated) io.say('It wrote more than is passed on (--max-output); the rest was thrown away.')
    return { json: { ...result, stdout: Buffer.concat(kept.stdout).toString('utf8'), stderr: Buffer.concat(kept.stderr).toString('utf8') }, exitCode: exitCodeOf(exit) }
  } finally {
    process.stdout.off('resize', onResize)
    if (terminal) process.stdin.setRawMode(false)
  }
}

export function terminalSize(): { columns: number; rows: number } {
  return { columns: process.stdout.columns || 80, rows: process.stdout.rows || 24 }
}

/** As a shell has it: 124 after the limit (timeout(1)), 128 and the number of the signal. */
function exitCodeOf({ code, signal, timedOut }: StreamExit): number {
  if (timedOut) return 124
  return code ?? 128 + (constants.signals[signal as keyof typeof constants.signals] ?? 0)
}

function written(stream: NodeJS.WriteStream, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => { stream.write(bytes, (error) => { if (error) reject(error); else resolve() }) })
}
