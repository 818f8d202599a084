import { GIT_HOST, MODEL_HOST } from '@swarm/contract/guest-protocol.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Target } from './request-target.ts'

/** An endpoint of the Swarm server and the token that speaks for this attempt there; the token never enters the microVM. */
export interface SwarmRoute {
  /** Base, to which the path of the guest's request is added: `http://127.0.0.1:8080/model`, `…/git`. */
  url: string
  token: string
  /** PEM certificates trusted in addition to the system's, for an https server. */
  ca?: string
}
/** What a microVM may reach of Swarm; one that is taken away while it runs is refused from then on. */
export interface SwarmRoutes {
  model?: SwarmRoute
  git?: SwarmRoute
}

const MODEL_PATH = /^\/v1\/messages(\/count_tokens)?(\?[\w=&.-]*)?$/
/** The three requests of smart HTTP; names begin with a letter or digit, so no segment is `.` or `..`. */
const GIT_PATH = /^\/[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*\/(info\/refs\?service=git-(upload|receive)-pack|git-(upload|receive)-pack)$/

export function isSwarmHost(host: string): boolean {
  return host === MODEL_HOST || host === GIT_HOST
}

/** The endpoint for a request to one of Swarm's own names. @throws DomainError egress_port_refused, egress_route_unknown. */
export function swarmEndpoint(routes: SwarmRoutes, target: Target, method: string, path: string): { url: URL; route: SwarmRoute } {
  if (target.port !== 80) throw new DomainError('egress_port_refused', { host: target.host, port: target.port, allowed: `80 (http://${target.host})` })
  const model = target.host === MODEL_HOST
  const route = model ? routes.model : routes.git
  if (route === undefined) throw new DomainError('egress_route_unknown', { method, path: path.slice(0, 200), host: target.host, routes: 'This microVM may not reach it.' })
  const known = model ? method === 'POST' && MODEL_PATH.test(path) : (method === 'GET' || method === 'POST') && GIT_PATH.test(path)
  if (!known) {
    throw new DomainError('egress_route_unknown', {
      method, path: path.slice(0, 200), host: target.host,
      routes: model ? 'There are POST /v1/messages and POST /v1/messages/count_tokens.' : 'There is git over smart HTTP at /<project>/<repository>.',
    })
  }
  return { url: new URL(route.url.replace(/\/$/, '') + path), route }
}
