import type { z } from 'zod'

/** Who may call an endpoint. `public` is for the few routes of docs/architecture.md; everything else needs a token of that kind; `user` is anybody who has signed in, or a key of theirs. */
export type Access = 'public' | 'admin' | 'user' | 'runner' | 'attempt' | 'check'

/** One HTTP endpoint as a value: the server's route, the typed client, the CLI's calls and the OpenAPI document come from it. */
export interface Endpoint<
  Params extends z.ZodType = z.ZodType, Query extends z.ZodType = z.ZodType,
  Body extends z.ZodType = z.ZodType, Response extends z.ZodType = z.ZodType,
> {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Fastify form, e.g. `/api/tickets/:ticketId`. */
  readonly path: `/${string}`
  readonly access: readonly Access[]
  readonly summary: string
  readonly tag: string
  readonly params?: Params
  readonly query?: Query
  readonly body?: Body
  readonly response: Response
  /** HTTP status of success; 200 unless given. */
  readonly status?: 200 | 201 | 202 | 204
}

/** Declares an endpoint; only there for the inference. */
export function endpoint<
  Params extends z.ZodType = z.ZodUndefined, Query extends z.ZodType = z.ZodUndefined,
  Body extends z.ZodType = z.ZodUndefined, Response extends z.ZodType = z.ZodType,
>(value: Endpoint<Params, Query, Body, Response>): Endpoint<Params, Query, Body, Response> {
  return value
}
