import { DomainError } from '@swarm/core/errors.ts'
import { parseJson } from '@swarm/core/json.ts'
import type { z } from 'zod'
import type { Endpoint } from './endpoint.ts'
import { ApiError, ErrorBody } from './errors.ts'

type Input<S extends z.ZodType> = z.input<S>
/** Parts that the endpoint declares are asked for; parts that accept nothing may be left out. */
type Part<Name extends string, S extends z.ZodType> = undefined extends Input<S> ? { [K in Name]?: Input<S> } : object extends Input<S> ? { [K in Name]?: Input<S> } : { [K in Name]: Input<S> }
type CallInput<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType> = Part<'params', P> & Part<'query', Q> & Part<'body', B>

export interface CallOptions {
  readonly signal?: AbortSignal
  readonly correlationId?: string
  readonly headers?: Readonly<Record<string, string>>
}

export interface ClientOptions {
  /** e.g. `http://127.0.0.1:8080` */
  readonly baseUrl: string
  /** Sent as a bearer token; a function is asked at every call. */
  readonly token?: string | (() => string | Promise<string>)
  readonly fetch?: typeof fetch
}

export interface Client {
  /**
   * Calls one endpoint and gives its answer, checked against the endpoint's schema.
   * @throws ApiError for an answer that is an error, DomainError `server_unreachable` when none came
   */
  call<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, R extends z.ZodType>(
    endpoint: Endpoint<P, Q, B, R>, input?: CallInput<P, Q, B>, options?: CallOptions,
  ): Promise<z.output<R>>
  /** The answer of an endpoint that gives a file, as text. */
  text<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, R extends z.ZodType>(
    endpoint: Endpoint<P, Q, B, R>, input?: CallInput<P, Q, B>, options?: CallOptions,
  ): Promise<string>
}

/** The path of an endpoint with its parameters and query filled in. */
export function pathOf(endpoint: { readonly path: string }, params: Readonly<Record<string, unknown>> = {}, query: Readonly<Record<string, unknown>> = {}): string {
  const path = endpoint.path.replace(/:(\w+)/g, (_, name: string) => {
    if (params[name] === undefined) throw new TypeError(`${endpoint.path} needs the parameter ${name}`)
    return encodeURIComponent(String(params[name]))
  })
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    for (const each of Array.isArray(value) ? value : [value]) if (each !== undefined && each !== null) search.append(name, String(each))
  }
  return search.size === 0 ? path : `${path}?${search}`
}

export function createClient(settings: ClientOptions): Client {
  const send = settings.fetch ?? fetch
  const base = settings.baseUrl.replace(/\/+$/, '')

  /** @throws ApiError for an answer that is an error, DomainError `server_unreachable` when none came */
  async function answerOf(endpoint: Pick<Endpoint, 'method' | 'path' | 'body'>, input: unknown, { signal, correlationId, headers: extra }: CallOptions): Promise<Response> {
    const given = (input ?? {}) as { params?: Record<string, unknown>, query?: Record<string, unknown>, body?: unknown }
    const { params, query } = given
    // An endpoint whose body has only optional fields still wants one.
    const body = given.body === undefined && endpoint.body !== undefined ? {} : given.body
    const headers = new Headers({ accept: 'application/json, */*;q=0.1', ...extra })
    const token = typeof settings.token === 'function' ? await settings.token() : settings.token
    if (token !== undefined) headers.set('authorization', `Bearer ${token}`)
    if (correlationId !== undefined) headers.set('x-correlation-id', correlationId)
    if (body !== undefined) headers.set('content-type', 'application/json')
    const request: RequestInit = { method: endpoint.method, headers }
    if (body !== undefined) request.body = JSON.stringify(body)
    if (signal) request.signal = signal
    const response = await reach(() => send(base + pathOf(endpoint, params, query), request), base, signal)
    if (!response.ok) throw await errorOf(response)
    return response
  }

  return {
    call: async (endpoint, input, options = {}) => {
      const response = await answerOf(endpoint, input, options)
      if (response.status === 204) return endpoint.response.parse(undefined)
      return endpoint.response.parse(await reach(() => response.json(), base, options.signal))
    },
    text: async (endpoint, input, options = {}) => {
      const response = await answerOf(endpoint, input, options)
      return await reach(() => response.text(), base, options.signal)
    },
  }
}

async function reach<T>(attempt: () => Promise<T>, url: string, signal: AbortSignal | undefined): Promise<T> {
  try {
    return await attempt()
  } catch (error) {
    if (signal?.aborted) throw error
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error)
    throw new DomainError('server_unreachable', { url, problem: cause }, { cause: error })
  }
}

async function errorOf(response: Response): Promise<ApiError> {
  const retryAfter = Number(response.headers.get('retry-after') ?? Number.NaN)
  const text = await response.text()
  const parsed = ErrorBody.safeParse(parseJson(text))
  // Something in between answered (a front proxy, another program on the port).
  const error = parsed.success ? parsed.data.error : {
    code: 'unexpected_answer', message: `The server answered ${response.status}: ${text.slice(0, 200)}`,
    remedy: 'Check that the address is that of a Swarm server.', details: {}, correlationId: response.headers.get('x-correlation-id') ?? '',
  }
  return new ApiError(response.status, error, Number.isFinite(retryAfter) ? retryAfter * 1000 : undefined)
}
