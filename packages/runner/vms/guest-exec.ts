import type { MuxStream } from '@swarm/contract/channel.ts'
import { EXEC_TAG, ExecExit } from '@swarm/contract/guest-protocol.ts'
import type { ExecOptions, ExecResult } from '../drivers/driver.ts'
import { outputTail } from './output-tail.ts'

export const DEFAULT_OUTPUT_BYTES = 16 * 1024 * 1024
/** No record of a well-behaved guest is longer: pipes are read 64 KiB at a time. What is not whole yet is copied with every frame that brings more of it. */
const MAX_RECORD_BYTES = 128 * 1024

/** A frame is taken in so many parts at most. */
const MAX_RUNS = 64

interface ExecSink {
  onExit(result: ExecResult): void
  onReset(reason: string): void
  /** Records that came in one frame, beside the first. */
  onRecords(count: number): void
  /** The guest broke the rules of an exec stream. */
  onViolation(reason: string): void
}

/** Collects an exec's records. The guest is not trusted: what exceeds the cap is dropped here as well. */
export function collectExec(stream: MuxStream, options: ExecOptions, sink: ExecSink): void {
  const cap = options.maxOutputBytes ?? DEFAULT_OUTPUT_BYTES
  const kept: Record<number, ReturnType<typeof outputTail>> = { [EXEC_TAG.STDOUT]: outputTail(options.keptBytes), [EXEC_TAG.STDERR]: outputTail(options.keptBytes) }
  let budget = cap
  let truncated = false
  let exit: ExecExit | null = null
  let pending = Buffer.alloc(0)

  const violate = (reason: string) => {
    stream.reset(reason)
    sink.onViolation(reason)
    // The stream is over already, so the end of the channel tells it nothing.
    sink.onReset(reason)
  }

  /** @returns what whoever takes the output waits for, if anything */
  function take({ tag, parts }: Run): unknown {
    const bytes = parts.length === 1 ? parts[0] as Buffer : Buffer.concat(parts)
    const part = bytes.subarray(0, budget)
    budget -= part.length
    truncated ||= part.length < bytes.length
    if (part.length === 0) return
    kept[tag]?.push(part)
    return tag === EXEC_TAG.STDOUT ? options.onStdout?.(part) : options.onStderr?.(part)
  }

  stream.handlers = {
    onData(bytes) {
      const runs: Run[] = []
      let records = 0
      pending = pending.length === 0 ? Buffer.from(bytes) : Buffer.concat([pending, bytes])
      while (pending.length >= 5) {
        const length = pending.readUInt32BE(1)
        if (length > MAX_RECORD_BYTES) return violate(`an exec record of ${length} bytes`)
        if (pending.length < 5 + length) break
        const [tag, record] = [pending.readUInt8(0), pending.subarray(5, 5 + length)]
        pending = pending.subarray(5 + length)
        records += 1
        if (tag === EXEC_TAG.EXIT) {
          exit = parseExit(record)
          if (exit === null) return violate('an exit record that is not valid')
        } else if (tag === EXEC_TAG.STDOUT || tag === EXEC_TAG.STDERR) addTo(runs, tag, record)
        else return violate(`an exec record with tag ${tag}`)
      }
      if (records > 1) sink.onRecords(records - 1)
      const taken = runs.map(take).filter((wait) => wait instanceof Promise)
      if (taken.length === 0) return stream.consumed(bytes.length)
      void Promise.allSettled(taken).then(() => { stream.consumed(bytes.length) })
    },
    onEnd() {
      if (exit === null) return violate('an exec stream that ended without an exit')
      stream.end()
      const text = (tag: number) => kept[tag]?.text() ?? ''
      sink.onExit({ ...exit, truncated: truncated || exit.truncated, stdout: text(EXEC_TAG.STDOUT), stderr: text(EXEC_TAG.STDERR) })
    },
    onReset: (reason) => sink.onReset(reason),
  }
}

/** Output of one stream that came together: whoever takes it is called once. */
interface Run { readonly tag: number; readonly parts: Buffer[] }

/** In their order; of a frame that changes between the streams more often than any program does, only that of each stream. */
function addTo(runs: Run[], tag: number, record: Buffer): void {
  const run = runs.length < MAX_RUNS ? runs.at(-1) : runs.findLast((each) => each.tag === tag)
  if (run?.tag === tag) run.parts.push(record)
  else runs.push({ tag, parts: [record] })
}

function parseExit(bytes: Buffer): ExecExit | null {
  try {
    return ExecExit.parse(JSON.parse(bytes.toString('utf8')))
  } catch {
    return null
  }
}
