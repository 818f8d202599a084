import { AsyncLocalStorage } from 'node:async_hooks'
import type { Kysely, KyselyPlugin } from 'kysely'
import type { Schema } from './schema.ts'
import type { Wake } from './wake.ts'

declare const trxBrand: unique symbol
/** What a unit of writing may await, and nothing else. Only `db.write` makes one, so a query that writes asks for it by type. */
export type Trx = Kysely<Schema> & { readonly [trxBrand]: true }

interface Unit {
  open: boolean
  readonly hooks: (() => void)[]
  readonly topics: Set<string>
}

const units = new WeakMap<object, Unit>()
const running = new AsyncLocalStorage<Unit>()

function unitOf(trx: Trx): Unit {
  const unit = units.get(trx)
  if (!unit) throw new TypeError('afterCommit and signal take the trx that db.write gave, not one derived from it')
  return unit
}

/** Runs `hook` once the unit's commit is durable; not at all if the unit fails. A hook must not throw and is not awaited. */
export function afterCommit(trx: Trx, hook: () => void): void {
  unitOf(trx).hooks.push(hook)
}

/** Wakes everyone who waits for `topic` (db.wake) after the commit, in every process. `appendEvents` signals `events`. */
export function signal(trx: Trx, topic: string): void {
  unitOf(trx).topics.add(topic)
}

/** Throws when called inside a unit: a second unit would wait for the first one, which waits for it. */
export function refuseNesting(): void {
  if (running.getStore()?.open) throw new Error('db.write was called inside a unit; pass the trx on instead')
}

export interface StartedUnit<T> {
  readonly value: T
  readonly topics: ReadonlySet<string>
  /** Runs the hooks and signals in this process; call after the commit. */
  committed(wake: Wake): void
}

/** Runs `fn` with a trx of its own that is dead afterwards, so that a query that nobody awaited cannot land in another unit. */
export async function runUnit<T>(db: Kysely<Schema>, fn: (trx: Trx) => Promise<T>): Promise<StartedUnit<T>> {
  const unit: Unit = { open: true, hooks: [], topics: new Set() }
  const guard: KyselyPlugin = {
    transformQuery: ({ node }) => {
      if (!unit.open) throw new Error('this trx is over: a query of its unit was not awaited')
      return node
    },
    transformResult: async ({ result }) => result,
  }
  const trx = db.withPlugin(guard) as Trx
  units.set(trx, unit)
  try {
    const value = await running.run(unit, () => fn(trx))
    return {
      value,
      topics: unit.topics,
      committed: (wake) => {
        for (const hook of unit.hooks) hook()
        for (const topic of unit.topics) wake.emit(topic)
      },
    }
  } finally {
    unit.open = false
  }
}
