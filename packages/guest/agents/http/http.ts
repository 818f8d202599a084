import { writeFile } from 'node:fs/promises'
import { failed, type AgentTemplate } from '../template.ts'
import { bounded } from '../../tools/bounded-output.ts'
import { openWorkspace, WorkspaceError } from '../../tools/workspace.ts'

/** Largest body that is saved, bytes. */
const MAX_BODY_BYTES = 64 * 1024 * 1024

/**
 * Performs the definition's operations in order with fetch (the VM's proxy settings apply). A status outside `expectStatus`,
 * a refused connection, an oversized body or a `save` path outside the workspace ends the attempt. Redirects are not
 * followed: a 3xx is a status like another, so that the hosts asked are those of the definition.
 */
export const http: AgentTemplate<'http'> = {
  name: 'http',
  async run(task, emit, signal) {
    const workspace = await openWorkspace(task.workspace)
    for (const operation of task.config.operations) {
      const label = `${operation.method} ${operation.url}`
      const startedMs = performance.now()
      try {
        // The path is judged before the request is made: an operation that cannot be saved has no effect outside either.
        const target = operation.save === undefined ? undefined : await workspace.resolveForWrite(operation.save)
        const response = await fetch(operation.url, { method: operation.method, headers: operation.headers, body: operation.body, redirect: 'manual', signal })
        const body = await readBody(response)
        const ok = operation.expectStatus.includes(response.status)
        emit({ type: 'command', command: label, exitCode: ok ? 0 : 1, output: `${response.status} ${response.statusText}, ${body.length} bytes${ok ? '' : `\n${bounded(body.toString('utf8'), 2_000)}`}`, wallMs: performance.now() - startedMs })
        if (!ok) return failed('agent', 'unexpected_status', `${label} answered ${response.status}; expected ${operation.expectStatus.join(', ')}.`)
        if (target !== undefined) {
          await workspace.makeParent(target)
          await writeFile(target.absolute, body)
        }
      } catch (error) {
        signal.throwIfAborted()
        const message = error instanceof Error ? error.message + (error.cause instanceof Error ? ` (${error.cause.message})` : '') : String(error)
        emit({ type: 'command', command: label, exitCode: 1, output: message, wallMs: performance.now() - startedMs })
        return failed('agent', error instanceof WorkspaceError ? error.code : 'operation_failed', `${label}: ${message}`)
      }
    }
    const count = task.config.operations.length
    return { type: 'finished', summary: `Performed ${count} ${count === 1 ? 'operation' : 'operations'}.` }
  },
}

async function readBody(response: Response): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of response.body ?? []) {
    length += chunk.length
    if (length > MAX_BODY_BYTES) throw new Error(`the body is larger than ${MAX_BODY_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
