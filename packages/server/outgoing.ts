import { readFileSync } from 'node:fs'
import { setGlobalProxyFromEnv } from 'node:http'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import type { Config } from '@swarm/contract/config.ts'

/** Always reached without a proxy: a rehearsal, and whatever else runs on this machine. */
const LOCAL = ['localhost', '127.0.0.1', '[::1]']

/**
 * Makes the requests of this process (model calls) follow the settings `upstreamProxy` and `caFile`, as Node does by itself
 * only when its own environment variables say so. For the whole process: called once, before the server is made.
 */
export function useOutgoing(config: Pick<Config, 'upstreamProxy' | 'caFile'>): void {
  if (config.upstreamProxy !== undefined) setGlobalProxyFromEnv({ http_proxy: config.upstreamProxy, https_proxy: config.upstreamProxy, no_proxy: LOCAL.join(',') })
  if (config.caFile !== undefined) setDefaultCACertificates([...getCACertificates('default'), readFileSync(config.caFile, 'utf8')])
}
