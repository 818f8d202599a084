import type { IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'

/**
 * What the SDK needs of fetch, on node:http: plain http, a text body, no redirects, an answer that is read once. The first use
 * of Node's own fetch, Headers or Response loads undici and compiles an HTTP parser (WebAssembly), two seconds under emulation;
 * node:http's parser is in Node's binary. The proxy is that of the environment. No connection is kept: a new one to this
 * machine costs less than a call that fails because the other side closed it between two turns.
 * @throws TypeError, as fetch does, when no answer comes or the body breaks off; the abort reason when the signal fires.
 */
export const httpFetch = (url: string | URL | Request, init: RequestInit = {}): Promise<Response> => new Promise((resolve, reject) => {
  // Not by `import`: that makes a namespace of all exports of node:http, and some of them (WebSocket) load undici.
  const { Agent, request } = process.getBuiltinModule('node:http')
  const signal = init.signal ?? undefined
  const call = request(new URL(String(url)), {
    agent: new Agent({ proxyEnv: { ...process.env }, keepAlive: false }), method: init.method, headers: Object.fromEntries(new Headers(init.headers)), signal,
  })
  call.once('error', (error) => reject(signal?.aborted === true ? signal.reason : new TypeError('fetch failed', { cause: error })))
  call.once('response', (answer) => resolve(responseOf(answer, String(url), signal)))
  call.end(init.body as string | undefined)
})

function responseOf(answer: IncomingMessage, url: string, signal: AbortSignal | undefined): Response {
  const status = answer.statusCode ?? 0
  const headers = new Headers(Object.entries(answer.headersDistinct).flatMap(([name, values = []]) => values.map((value): [string, string] => [name, value])))
  const body = bodyOf(answer, signal)
  const read = (): Promise<string> => text(body)
  // The part of Response that the SDK reads; the real one would load undici.
  return { url, status, statusText: answer.statusMessage ?? '', ok: status >= 200 && status < 300, headers, body, text: read, json: async () => JSON.parse(await read()) as unknown } as Response
}

function bodyOf(answer: IncomingMessage, signal: AbortSignal | undefined): ReadableStream<Uint8Array<ArrayBuffer>> {
  const chunks: AsyncIterator<Uint8Array> = answer.iterator()
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      try {
        const { done, value } = await chunks.next()
        if (done === true) controller.close()
        else controller.enqueue(new Uint8Array(value))
      } catch (error) {
        controller.error(signal?.aborted === true ? signal.reason : new TypeError('terminated', { cause: error }))
      }
    },
    cancel: () => void answer.destroy(),
  })
}
