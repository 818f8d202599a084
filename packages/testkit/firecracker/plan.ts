import { appendFileSync, chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** What goes wrong, and where: at a request (`PUT /snapshot/load`), at `start` (before it listens), or at the guest's `hello` or `prepare`. */
export interface Fault {
  at: string
  /** `refuse`: an answer with `status`; `die`: the process ends, `after` its answer or before; `slow`: `delayMs` before the answer; `deaf`: no guest listens; `drop-first`: the guest drops its first connection. */
  how: 'refuse' | 'die' | 'die-after' | 'slow' | 'deaf' | 'drop-first'
  status?: number
  delayMs?: number
}

export interface Plan {
  /** Of firecracker, as it names it itself. */
  version: string
  /** Of jailer, when it is another. */
  jailerVersion?: string
  /** How the jailer ends instead of starting anything. */
  jailerFailure?: string
  faults: Fault[]
}

export interface SeenRequest {
  slot: string
  method: string
  path: string
  operation: string | null
  /** What Firecracker's API description or its order has against it; never for a request of the driver. */
  problems: string[]
}

/** A folder with programs `firecracker` and `jailer`, the plan that they follow, and what they were asked. */
export interface FakeInstallation {
  readonly firecracker: string
  readonly jailer: string
  plan(plan: Partial<Plan>): void
  requests(): SeenRequest[]
  /** Whatever the jailer was called for. */
  slots(): string[]
}

const DEFAULT_PLAN: Plan = { version: '1.17.0', faults: [] }

export function installFake(folder: string): FakeInstallation {
  const bin = join(folder, 'bin')
  mkdirSync(bin, { recursive: true })
  const write = (name: 'firecracker' | 'jailer', program: string) => {
    const path = join(bin, name)
    // The jailer clears the environment: all that a program needs is in its text.
    writeFileSync(path, `#!/bin/sh\nexec '${process.execPath}' '${fileURLToPath(new URL(program, import.meta.url))}' --fake '${folder}' "$@"\n`)
    chmodSync(path, 0o755)
    return path
  }
  const plan = (given: Partial<Plan>) => { writeFileSync(join(folder, 'plan.json'), JSON.stringify({ ...DEFAULT_PLAN, ...given })) }
  plan({})
  return {
    firecracker: write('firecracker', './vmm/main.ts'), jailer: write('jailer', './jailer/main.ts'), plan,
    requests: () => linesOf(join(folder, 'requests.jsonl')).map((line) => JSON.parse(line) as SeenRequest),
    slots: () => linesOf(join(folder, 'slots')),
  }
}

export const readPlan = (folder: string): Plan => JSON.parse(readFileSync(join(folder, 'plan.json'), 'utf8')) as Plan
const linesOf = (path: string) => !existsSync(path) ? [] : readFileSync(path, 'utf8').split('\n').filter((line) => line !== '')
export const noteSlot = (folder: string, slot: string): void => { appendFileSync(join(folder, 'slots'), `${slot}\n`) }
export const noteRequest = (folder: string, seen: SeenRequest): void => { appendFileSync(join(folder, 'requests.jsonl'), `${JSON.stringify(seen)}\n`) }
