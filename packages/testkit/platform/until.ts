import type { Context } from '@swarm/server/context.ts'

/** Waits for a condition that events bring about. @throws when nothing is committed for `timeoutMs` */
export async function until(context: Pick<Context, 'db'>, condition: () => Promise<boolean>, timeoutMs = 180_000): Promise<void> {
  using latch = context.db.wake.latch('events')
  while (!await condition()) {
    if (await latch.wait({ timeoutMs }) === 'timeout') throw new Error(`nothing happened for ${timeoutMs} ms`)
  }
}
