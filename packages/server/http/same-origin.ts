import type { IncomingHttpHeaders } from 'node:http'

/**
 * Whether a browser says that a request comes from a page of this server, or was typed in: by Sec-Fetch-Site, which pages cannot set,
 * else by Origin. Without either there is no proof.
 * @param host what the request was sent to, with its port
 */
export function isSameOrigin(headers: IncomingHttpHeaders, host: string, publicUrl: string | undefined): boolean {
  const site = headers['sec-fetch-site']
  if (site !== undefined) return site === 'same-origin' || site === 'none'
  const { origin } = headers
  if (origin === undefined || !URL.canParse(origin)) return false
  const from = new URL(origin)
  return from.host === host || (publicUrl !== undefined && from.origin === new URL(publicUrl).origin)
}
