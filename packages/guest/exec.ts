import { spawn, type ChildProcess } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import type { MuxStream } from '@swarm/contract/channel.ts'
import { EXEC_TAG, type ExecExit, type ExecHeader } from '@swarm/contract/guest-protocol.ts'
import { baseEnvironment } from './environment.ts'

/** After the process has gone, its pipes are read for this long at most: a daemon that left the group may hold them open. */
const DRAIN_MS = 1_000

/**
 * Runs one process for an exec stream. It leads a process group of its own, and the group ends with it: what it left in the
 * background is killed (a process that called setsid escapes until the microVM ends).
 * @param isChannelGone whether a reset is that of the whole channel: in a microVM that was forked, what ran goes on, heard by nobody
 */
export function runExec(stream: MuxStream, header: ExecHeader, isChannelGone: () => boolean): void {
  const startedAt = performance.now()
  const child = spawn(header.argv[0] as string, header.argv.slice(1), {
    cwd: header.cwd, env: { ...baseEnvironment(), ...header.env }, detached: true, stdio: ['pipe', 'pipe', 'pipe'],
  })
  const killedBefore = outOfMemoryKills()
  let budget = header.maxOutputBytes ?? Number.POSITIVE_INFINITY
  let [timedOut, truncated, finished] = [false, false, false]
  const outputs = [child.stdout, child.stderr]
  // The supervisor is shielded from the OOM killer; what it starts is not.
  if (child.pid !== undefined) tryWrite(`/proc/${child.pid}/oom_score_adj`, '0')

  const timer = header.timeoutMs === undefined ? undefined : setTimeout(() => {
    timedOut = true
    killGroup(child)
  }, header.timeoutMs)

  const finish = (code: number | null, signal: string | null) => {
    if (finished) return
    finished = true
    clearTimeout(timer)
    const killed = outOfMemoryKills() - killedBefore
    // A bare SIGKILL tells nobody why; the console, where the kernel says it, is not kept.
    if (killed > 0) stream.write(record(EXEC_TAG.STDERR, Buffer.from(`swarm: this microVM ran out of memory, and its kernel killed ${killed} of its processes\n`)))
    const exit: ExecExit = { code, signal, timedOut, truncated, wallMs: performance.now() - startedAt }
    stream.write(record(EXEC_TAG.EXIT, Buffer.from(JSON.stringify(exit))))
    stream.end()
  }

  for (const [tag, output] of [[EXEC_TAG.STDOUT, child.stdout], [EXEC_TAG.STDERR, child.stderr]] as const) {
    output.on('data', (chunk: Buffer) => {
      const kept = chunk.subarray(0, Math.min(chunk.length, budget))
      budget -= kept.length
      truncated ||= kept.length < chunk.length
      if (kept.length > 0 && !stream.write(record(tag, kept))) for (const each of outputs) each.pause()
    })
    output.on('error', (error) => process.stderr.write(`exec output: ${error.message}\n`))
  }
  // A process may close its stdin early; what the host still sends is thrown away then.
  child.stdin.on('error', () => child.stdin.destroy())

  stream.handlers = {
    onData(bytes) {
      if (child.stdin.destroyed) return stream.consumed(bytes.length)
      child.stdin.write(bytes, () => stream.consumed(bytes.length))
    },
    onEnd: () => child.stdin.end(),
    onReset() {
      if (isChannelGone()) {
        for (const each of outputs) each.resume()
        return
      }
      clearTimeout(timer)
      finished = true
      killGroup(child)
    },
    onDrain() {
      for (const each of outputs) each.resume()
    },
  }

  child.once('error', (error) => {
    // Like a shell: 127 when it cannot be found, 126 when it cannot be run.
    const code = 'code' in error && error.code === 'ENOENT' ? 127 : 126
    stream.write(record(EXEC_TAG.STDERR, Buffer.from(`cannot start ${header.argv[0]} in ${header.cwd}: ${error.message}\n`)))
    finish(code, null)
  })
  child.once('exit', (code, signal) => {
    killGroup(child)
    const drained = setTimeout(() => {
      for (const each of outputs) each.destroy()
    }, DRAIN_MS)
    child.once('close', () => {
      clearTimeout(drained)
      finish(code, signal)
    })
  })
}

/** Processes that the guest's kernel has killed since its boot because no memory was left. */
function outOfMemoryKills(): number {
  return Number(/^oom_kill (\d+)$/m.exec(readFileSync('/proc/vmstat', 'utf8'))?.[1] ?? 0)
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch (error) {
    // ESRCH: nothing is left of the group, which is what was wanted.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}

function record(tag: number, bytes: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(5 + bytes.length)
  out.writeUInt8(tag, 0)
  out.writeUInt32BE(bytes.length, 1)
  out.set(bytes, 5)
  return out
}

function tryWrite(path: string, text: string): void {
  try {
    writeFileSync(path, text)
  } catch (error) {
    // The process may be over already.
    process.stderr.write(`${path}: ${error instanceof Error ? error.message : String(error)}\n`)
  }
}
