import type { VmUsage } from '@swarm/contract/runner-protocol.ts'
import type { ExecOptions, ExecResult, Vm, VmLimits, VmSize } from '../drivers/driver.ts'
import { outputTail } from './output-tail.ts'

/** Kept of what ran in a microVM and of its console, bytes each; of so many that have ended, too. */
const KEPT_BYTES = 256 * 1024
const ENDED_KEPT = 32
/** Of a command line in the log: the scripts of the runner itself are long. */
const SHOWN_CHARACTERS = 300

export interface RegisteredVm {
  /** Itself: what is run by this one is not in its log. */
  readonly vm: Vm
  readonly limits: VmLimits
  readonly size: VmSize
  readonly output: ReturnType<typeof outputTail>
  readonly console: ReturnType<typeof outputTail>
  /** As it was measured last. */
  usage: VmUsage | null
  ended: boolean
}

/** The microVMs that work runs in, with what they wrote and use. In memory: it goes with the runner, as they do. */
export interface VmRegistry {
  /** Takes a microVM in until it ends. What is run by the returned one is in its log. */
  add(vm: Vm, limits: VmLimits, size: VmSize): Vm
  /** Also one of the last that ended. */
  find(id: string): RegisteredVm | undefined
  live(): RegisteredVm[]
}

export function createVmRegistry(): VmRegistry {
  const entries = new Map<string, RegisteredVm>()
  return {
    add(vm, limits, size) {
      const entry: RegisteredVm = { vm, limits, size, output: outputTail(KEPT_BYTES), console: outputTail(KEPT_BYTES), usage: null, ended: false }
      entries.set(vm.id, entry)
      void vm.ended.then(({ reason, detail }) => {
        entry.ended = true
        entry.output.push(Buffer.from(`[the microVM ended: ${reason}: ${detail}]\n`))
        // To the end of the row: the first that has ended goes first.
        entries.delete(vm.id)
        entries.set(vm.id, entry)
        const ended = [...entries.values()].filter((each) => each.ended)
        for (const each of ended.slice(0, Math.max(0, ended.length - ENDED_KEPT))) entries.delete(each.vm.id)
      })
      // Everything else is that of the microVM.
      return Object.create(vm, { exec: { value: (options: ExecOptions) => recorded(entry, options), enumerable: true } }) as Vm
    },
    find: (id) => entries.get(id),
    live: () => [...entries.values()].filter((each) => !each.ended),
  }
}

async function recorded({ vm, output }: RegisteredVm, options: ExecOptions): Promise<ExecResult> {
  const keep = (line: string): void => { output.push(Buffer.from(`${line}\n`)) }
  const words = options.argv.join(' ').replaceAll('\n', '⏎')
  keep(`$ ${words.length > SHOWN_CHARACTERS ? `${words.slice(0, SHOWN_CHARACTERS)}…` : words}`)
  const take = (chunk: Uint8Array, next: ExecOptions['onStdout']): unknown => {
    output.push(Buffer.from(chunk))
    return next?.(chunk)
  }
  try {
    const result = await vm.exec({ ...options, onStdout: (chunk) => take(chunk, options.onStdout), onStderr: (chunk) => take(chunk, options.onStderr) })
    keep(`[exit ${result.code ?? result.signal ?? '?'}${result.timedOut ? ', timed out' : ''}, ${Math.round(result.wallMs)} ms]`)
    return result
  } catch (error) {
    keep(`[${error instanceof Error ? error.message : String(error)}]`)
    throw error
  }
}
