import { DomainError } from '@swarm/core/errors.ts'

/** Commands of one push: 64 KiB are several hundred refs; an attempt pushes one or two. */
export const MAX_COMMAND_BYTES = 64 * 1024
const COMMAND = /^([0-9a-f]{40,64}) ([0-9a-f]{40,64}) ([^\0\n]+)/

/**
 * Passes a receive-pack request on once its commands were read and each of them writes a ref under `prefix` and deletes
 * none. git's own `receive.hideRefs` refuses other refs as well; `receive.denyDeletes` however knows of branches only.
 * Errors: `push_forbidden`, `invalid_input` (not the protocol).
 */
export async function* withAllowedCommands(body: AsyncIterable<Buffer>, prefix: string): AsyncGenerator<Buffer, void, undefined> {
  let held = Buffer.alloc(0)
  let allowed = false
  for await (const chunk of body) {
    if (allowed) {
      yield chunk
      continue
    }
    held = Buffer.concat([held, chunk])
    const end = readCommands(held, prefix)
    if (end === null && held.length > MAX_COMMAND_BYTES) throw new DomainError('invalid_input', { problem: 'the push has too many commands', field: 'the body' })
    if (end === null) continue
    allowed = true
    yield held
  }
  if (!allowed && held.length > 0) throw new DomainError('invalid_input', { problem: 'the push ended within its commands', field: 'the body' })
}

/** Checks the pkt-lines up to the flush. Returns where they end, or null when more bytes are needed. */
function readCommands(bytes: Buffer, prefix: string): number | null {
  let at = 0
  for (;;) {
    if (bytes.length < at + 4) return null
    const digits = bytes.toString('latin1', at, at + 4)
    if (!/^[0-9a-f]{4}$/i.test(digits)) throw new DomainError('invalid_input', { problem: 'it is not a push of git', field: 'the body' })
    const length = Number.parseInt(digits, 16)
    if (length === 0) return at + 4
    if (length < 5) throw new DomainError('invalid_input', { problem: 'it is not a push of git', field: 'the body' })
    if (bytes.length < at + length) return null
    const line = bytes.toString('utf8', at + 4, at + length)
    at += length
    if (line.startsWith('shallow ')) continue
    const [, , next, ref] = COMMAND.exec(line) ?? []
    if (next === undefined || ref === undefined) throw new DomainError('invalid_input', { problem: 'it is not a push of git', field: 'the body' })
    if (!ref.startsWith(`${prefix}/`) || /^0+$/.test(next)) throw new DomainError('push_forbidden', { ref: ref.slice(0, 200), prefix })
  }
}
