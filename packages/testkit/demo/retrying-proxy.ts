import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { setTimeout as after } from 'node:timers/promises'

/**
 * Between an agent on the host and the rehearsal model: adds the key that the model asks for, and meets 429, 529 and 5xx as the
 * model gateway does, by waiting for Retry-After and trying again. The gateway itself has tests of its own.
 */
export async function startRetryingProxy(upstream: string): Promise<AsyncDisposable & { readonly url: string; readonly retried: () => number }> {
  let retried = 0
  const pass = async (path: string, headers: Record<string, string>, body: Buffer): Promise<Response> => {
    for (;;) {
      const response = await fetch(`${upstream}${path}`, { method: 'POST', headers: { ...headers, 'x-api-key': 'rehearsal' }, body: new Uint8Array(body) })
      if (response.status !== 429 && response.status < 500) return response
      retried++
      await response.arrayBuffer()
      await after(Number(response.headers.get('retry-after') ?? 0.1) * 1_000)
    }
  }
  const server = createServer((request, response) => {
    const kept = ['content-type', 'anthropic-version', 'x-swarm-role', 'x-swarm-ticket', 'x-swarm-attempt'] as const
    const headers = Object.fromEntries(kept.flatMap((name) => (typeof request.headers[name] === 'string' ? [[name, request.headers[name]]] : [])))
    buffer(request).then((body) => pass(request.url ?? '/', headers, body)).then(async (answer) => {
      response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? 'application/json' })
      response.end(Buffer.from(await answer.arrayBuffer()))
    }).catch((error: unknown) => { response.writeHead(502).end(String(error)) })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    retried: () => retried,
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}
