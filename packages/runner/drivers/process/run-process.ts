import { spawn } from 'node:child_process'
import { Readable } from 'node:stream'
import type { ExecOptions, ExecResult } from '../driver.ts'
import { DEFAULT_OUTPUT_BYTES } from '../../vms/guest-exec.ts'
import { outputTail } from '../../vms/output-tail.ts'

/** After the process has gone, its pipes are read for this long at most, ms: a daemon that left the group may hold them open. */
const DRAIN_MS = 1_000

export interface RunningProcess {
  /** Its process group; null when it could not be started. */
  readonly group: number | null
  readonly result: Promise<ExecResult>
  kill(): void
  signal(signal: NodeJS.Signals): void
}

/** A process of this host under the rules of an exec: its group ends with it, timeout, output cap. */
export function runProcess(options: ExecOptions & { cwd: string; env: Record<string, string> }): RunningProcess {
  const startedAt = performance.now()
  const child = spawn(options.argv[0] ?? '', options.argv.slice(1), { cwd: options.cwd, env: options.env, detached: true, stdio: ['pipe', 'pipe', 'pipe'] })
  let budget = options.maxOutputBytes ?? DEFAULT_OUTPUT_BYTES
  let [timedOut, truncated] = [false, false]
  const texts = { stdout: outputTail(options.keptBytes), stderr: outputTail(options.keptBytes) }
  const signal = (name: NodeJS.Signals) => {
    if (child.pid === undefined) return
    try {
      process.kill(-child.pid, name)
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
    }
  }
  const kill = () => signal('SIGKILL')
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].on('data', (chunk: Buffer) => {
      const kept = chunk.subarray(0, budget)
      budget -= kept.length
      truncated ||= kept.length < chunk.length
      if (kept.length === 0) return
      texts[name].push(kept)
      const wait = name === 'stdout' ? options.onStdout?.(kept) : options.onStderr?.(kept)
      if (!(wait instanceof Promise)) return
      child[name].pause()
      void wait.catch(() => undefined).finally(() => { child[name].resume() }) // it takes no more: the rest is read and thrown away
    })
  }
  child.stdin.on('error', () => child.stdin.destroy()) // it may not read its stdin
  if (options.stdin instanceof Readable) options.stdin.pipe(child.stdin)
  else child.stdin.end(options.stdin ?? '')
  const timer = options.timeoutMs === undefined ? undefined : setTimeout(() => {
    timedOut = true
    kill()
  }, options.timeoutMs)
  options.signal?.addEventListener('abort', kill, { once: true })

  const result = new Promise<ExecResult>((resolve) => {
    const finish = (code: number | null, ended: string | null) => {
      clearTimeout(timer)
      options.signal?.removeEventListener('abort', kill)
      resolve({ code, signal: ended, timedOut, truncated, wallMs: performance.now() - startedAt, stdout: texts.stdout.text(), stderr: texts.stderr.text() })
    }
    child.once('error', (error) => {
      texts.stderr.push(Buffer.from(`cannot start ${options.argv[0]} in ${options.cwd}: ${error.message}\n`))
      finish('code' in error && error.code === 'ENOENT' ? 127 : 126, null)
    })
    child.once('exit', (code, ended) => {
      kill()
      const drained = setTimeout(() => {
        for (const name of ['stdout', 'stderr'] as const) child[name].destroy()
      }, DRAIN_MS)
      child.once('close', () => {
        clearTimeout(drained)
        finish(code, ended)
      })
    })
  })
  return { group: child.pid ?? null, result, kill, signal }
}
