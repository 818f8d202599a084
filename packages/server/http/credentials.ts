import type { IncomingHttpHeaders } from 'node:http'

/**
 * The token that a request carries: `Authorization: Bearer`, the password of `Authorization: Basic` (git clients), or
 * `x-api-key` (model SDKs). Undefined when there is none; never taken from the URL.
 */
export function credentialOf(headers: IncomingHttpHeaders): string | undefined {
  const [scheme = '', value = ''] = (headers.authorization ?? '').split(' ', 2)
  if (scheme.toLowerCase() === 'bearer') return value
  if (scheme.toLowerCase() === 'basic') {
    const pair = Buffer.from(value, 'base64').toString('utf8')
    return pair.slice(pair.indexOf(':') + 1)
  }
  const key = headers['x-api-key']
  return typeof key === 'string' ? key : undefined
}
