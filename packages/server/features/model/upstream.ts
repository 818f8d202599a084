import type { ModelProvider } from './providers.ts'

/** What one try came to, before anything was passed on. */
export type Opened =
  /** The answer has begun: `first` is its first bytes, `rest` the others. `rest` throws when it is cut or falls silent. */
  | { readonly kind: 'answer'; readonly status: number; readonly headers: Headers; readonly first: Uint8Array; readonly rest: AsyncIterable<Uint8Array> }
  /** The provider said no: nothing was served. */
  | { readonly kind: 'refused'; readonly status: number; readonly headers: Headers; readonly body: Uint8Array }
  /** No answer. `served` is unknown when the request may have reached the model. */
  | { readonly kind: 'failed'; readonly served: 'no' | 'unknown'; readonly problem: string }

/** The provider sent no byte for too long. */
export class SilenceError extends Error {
  constructor(ms: number) {
    super(`no byte for ${ms} ms`)
    this.name = 'SilenceError'
  }
}

export interface OpenOptions {
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  /** Longest silence in ms, before the first byte and between two. */
  readonly silenceMs: number
  /** Aborted when the caller has gone; the call then ends with that error. */
  readonly signal: AbortSignal
}

/** Statuses that say "not now": the same request may be answered later. */
export const RETRIED: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504, 529])
/** The request certainly did not reach the provider. */
const NOT_CONNECTED = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'UND_ERR_CONNECT_TIMEOUT'])
const MOST_ERROR_BYTES = 64 * 1024

/** One try of a call: sends it and waits for the first bytes. */
export async function openUpstream(provider: ModelProvider, options: OpenOptions): Promise<Opened> {
  const stop = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const listen = (): void => {
    clearTimeout(timer)
    timer = setTimeout(() => stop.abort(new SilenceError(options.silenceMs)), options.silenceMs)
  }
  const signal = AbortSignal.any([stop.signal, options.signal])
  const headers = { ...options.headers, ...provider.credentials(), 'content-type': 'application/json' }
  listen()
  try {
    const response = await fetch(`${provider.baseUrl}/v1/messages`, {
      method: 'POST', redirect: 'error', signal, body: options.body, headers,
    })
    listen()
    const chunks = (response.body ?? new ReadableStream<Uint8Array>({ start: (controller) => controller.close() }))[Symbol.asyncIterator]()
    if (response.status !== 200) {
      const body = await collect(chunks, listen)
      clearTimeout(timer)
      return { kind: 'refused', status: response.status, headers: response.headers, body }
    }
    const first = await chunks.next()
    if (first.done) {
      clearTimeout(timer)
      return { kind: 'failed', served: 'unknown', problem: 'the answer ended before it began' }
    }
    return { kind: 'answer', status: response.status, headers: response.headers, first: first.value, rest: remaining(chunks, listen, () => clearTimeout(timer)) }
  } catch (error) {
    clearTimeout(timer)
    if (options.signal.aborted) throw error
    return { kind: 'failed', served: NOT_CONNECTED.has(causeCode(error)) ? 'no' : 'unknown', problem: stop.signal.aborted ? String((stop.signal.reason as Error).message) : describe(error) }
  }
}

async function* remaining(chunks: AsyncIterator<Uint8Array>, listen: () => void, done: () => void): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    for (listen(); ; listen()) {
      const next = await chunks.next()
      if (next.done) return
      yield next.value
    }
  } finally {
    done()
    await chunks.return?.().catch(() => undefined) // the connection may be gone already, which is what we want of it
  }
}

async function collect(chunks: AsyncIterator<Uint8Array>, listen: () => void): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  let size = 0
  for (let next = await chunks.next(); !next.done; next = await chunks.next()) {
    listen()
    if (size < MOST_ERROR_BYTES) parts.push(next.value)
    size += next.value.length
  }
  return Buffer.concat(parts).subarray(0, MOST_ERROR_BYTES)
}

function causeCode(error: unknown): string {
  return error instanceof Error ? codeOf(error.cause) : ''
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
}

/** Text for logs and errors: the cause's code and message, never headers or the body. */
function describe(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  return cause instanceof Error ? [codeOf(cause), cause.message].filter(Boolean).join(' ') : 'unknown error'
}
