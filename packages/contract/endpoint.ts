import type { Action } from '@swarm/core/policy/actions.ts'
import type { z } from 'zod'

/**
 * Kinds of callers. `public` is for the few routes of public-routes.ts. `person` is a user (by session or API key) or the holder
 * of the installation's admin token: policies decide on `action` and `on` what they may do. The others carry a token of that kind.
 */
export type Access = 'public' | 'person' | 'runner' | 'attempt' | 'check'

/** Kinds of things that an id in a request may mean. */
export type ResourceName = 'project' | 'repository' | 'session' | 'ticket' | 'attempt' | 'question' | 'approval' | 'change' | 'check' | 'vm' | 'secret' | 'organization'

/**
 * What an endpoint is about: something that the request names, the caller's own account, or the whole installation. Where the
 * id may be left out, it is about all that the caller may see, and the handler answers with no more than that.
 */
export type On = 'account' | 'installation' | 'visible' | Reference
export interface Reference {
  /** What the id means, or the parameter of the path that says so. */
  readonly resource: ResourceName | { readonly named: string }
  readonly in: 'params' | 'query' | 'body' | 'headers'
  readonly name: string
  /** What it is about where the id is left out; it may not be unless this is given. */
  readonly otherwise?: 'visible' | Reference
}

export const inParams = (resource: Reference['resource'], name: string): Reference => ({ resource, in: 'params', name })
/** Of lists: all that the caller may see, unless one is named. */
export const inQuery = (resource: ResourceName, name: string, otherwise: 'visible' | Reference = 'visible'): Reference => ({ resource, in: 'query', name, otherwise })
export const inBody = (resource: ResourceName, name: string, otherwise?: 'visible' | Reference): Reference => ({ resource, in: 'body', name, ...(otherwise === undefined ? {} : { otherwise }) })
export const inHeaders = (resource: ResourceName, name: string): Reference => ({ resource, in: 'headers', name })

/** One HTTP endpoint as a value: the server's route, the typed client, the CLI's calls and the OpenAPI document come from it. */
export interface Endpoint<
  Params extends z.ZodType = z.ZodType, Query extends z.ZodType = z.ZodType,
  Body extends z.ZodType = z.ZodType, Response extends z.ZodType = z.ZodType,
> {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Fastify form, e.g. `/api/tickets/:ticketId`. */
  readonly path: `/${string}`
  readonly access: readonly Access[]
  /** Of endpoints for persons: what the policies are asked, and about what. */
  readonly action?: Action
  readonly on?: On
  readonly summary: string
  readonly tag: string
  readonly params?: Params
  readonly query?: Query
  readonly body?: Body
  readonly response: Response
  /** Its answer holds something that is shown only once (a new key): it is kept nowhere, not for a repetition either. */
  readonly shownOnce?: boolean
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
