import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Template } from '../../packages/runner/drivers/driver.ts'
import { MACHINES } from '../../packages/runner/drivers/qemu/arguments.ts'

export interface Timings { vmmMs: number; readyMs: number; firstMs: number }
export interface Round { runs: Timings[]; totalMs: number; pssBytes: number[] }

/** The bare script (bare.mjs) in a process of its own, on the same template as the driver beside it. */
export interface Bare extends AsyncDisposable {
  spawn(count: number): Promise<{ spawned: number[] }>
  /** What waits, or, with `cold`, so many that are started now. */
  run(cold?: number): Promise<Round>
  end(): Promise<{ ended: number[]; totalMs: number }>
}

/** @param folder for its sockets and disks, made and emptied by it; removed by the caller */
export function startBare(template: Template, folder: string, accelerator: 'tcg' | 'kvm'): Bare {
  const { image, size, directory } = template
  if (image === null) throw new TypeError('a template of QEMU has an image')
  const machine = { template: directory, model: MACHINES[accelerator], kernel: image.kernel, initrd: image.initrd, root: image.root, memoryMb: size.memoryMb, vcpus: size.vcpus, accelerator, folder }
  const child = spawn(process.execPath, [fileURLToPath(new URL('bare.mjs', import.meta.url)), JSON.stringify(machine)], { stdio: ['pipe', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  async function ask<Answer>(question: Record<string, unknown>): Promise<Answer> {
    child.stdin.write(`${JSON.stringify(question)}\n`)
    const { value, done } = await answers.next()
    if (done === true) throw new Error('the bare script has ended')
    return JSON.parse(value) as Answer
  }
  return {
    spawn: (count) => ask({ do: 'spawn', count }),
    run: (cold) => ask({ do: 'run', ...(cold === undefined ? {} : { cold }) }),
    end: () => ask({ do: 'end' }),
    async [Symbol.asyncDispose]() {
      child.stdin.end()
      await exited
    },
  }
}
