/** Headers that belong to one hop (RFC 9110, 7.6.1) or that only we may write. */
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'proxy-connection', 'proxy-authenticate', 'proxy-authorization', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'expect', 'host'])
/** Not passed to Swarm's own endpoints: who speaks is for the runner to say. */
const IDENTITY = new Set(['authorization', 'x-api-key', 'cookie', 'forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-real-ip', 'x-correlation-id'])

/** The headers that go on, as a flat list: without those of the hop and those that `Connection` names. */
export function endToEnd(rawHeaders: readonly string[], options: { dropIdentity: boolean; alsoDrop?: readonly string[] }): string[] {
  const named = new Set<string>()
  const pairs: [string, string][] = []
  for (let index = 0; index < rawHeaders.length; index += 2) pairs.push([rawHeaders[index] ?? '', rawHeaders[index + 1] ?? ''])
  for (const [name, value] of pairs) if (name.toLowerCase() === 'connection') for (const part of value.split(',')) named.add(part.trim().toLowerCase())
  return pairs.flatMap(([name, value]) => {
    const lower = name.toLowerCase()
    // A body must keep its frame whatever Connection says.
    if (named.has(lower) && lower !== 'content-length') return []
    return HOP_BY_HOP.has(lower) || options.alsoDrop?.includes(lower) === true || (options.dropIdentity && IDENTITY.has(lower)) ? [] : [name, value]
  })
}
