import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

/**
 * `delay`: every piece arrives `ms` later. `stall`: nothing passes, neither bytes nor ends, and no side is told.
 * `refuse`: new connections are reset.
 */
export type Weather = { readonly kind: 'fair' } | { readonly kind: 'delay'; readonly ms: number } | { readonly kind: 'stall' } | { readonly kind: 'refuse' }

/** What the proxy did so far, each counted when it happened to a peer. */
export interface ProxyCounts {
  accepted: number
  refused: number
  /** Connections that were reset while they were open. */
  cut: number
  /** Pieces that were delayed, and that were held by a stall. */
  delayed: number
  held: number
}

export interface TcpProxy extends AsyncDisposable {
  readonly port: number
  readonly counts: Readonly<ProxyCounts>
  open(): number
  set(weather: Weather): void
  /** Resets every open connection on both sides, in the middle of whatever passes. @returns how many */
  cut(): number
}

/** A proxy in user space between a client and `target`, both on loopback; the target need not be there yet. */
export async function startTcpProxy(target: { readonly port: number }): Promise<TcpProxy> {
  const counts: ProxyCounts = { accepted: 0, refused: 0, cut: 0, delayed: 0, held: 0 }
  const pairs = new Set<readonly [Socket, Socket]>()
  let weather: Weather = { kind: 'fair' }
  let changed = Promise.withResolvers<void>()
  const closing = new AbortController()

  /** Resolves when a piece, or an end, may pass on. */
  async function pass(): Promise<void> {
    if (weather.kind === 'delay') {
      counts.delayed++
      await delay(weather.ms, undefined, { signal: closing.signal }).catch(() => undefined)
    }
    if (weather.kind === 'stall') counts.held++
    while (weather.kind === 'stall' && !closing.signal.aborted) await changed.promise
  }

  function pump(from: Socket, to: Socket): void {
    // One after another: what comes later must not overtake what is delayed.
    let order = Promise.resolve()
    const then = (step: () => void | Promise<void>): void => { order = order.then(pass).then(step).catch(() => { to.destroy() }) }
    from.on('data', (piece: Buffer) => {
      from.pause()
      then(async () => {
        if (!to.destroyed && to.writable && !to.write(piece)) await Promise.race([once(to, 'drain'), once(to, 'close')])
        from.resume()
      })
    })
    from.once('end', () => { then(() => { to.end() }) })
    from.once('close', () => { then(() => { to.destroy() }) })
    from.on('error', () => { from.destroy() })
  }

  const server = createServer({ allowHalfOpen: true }, (client) => {
    client.on('error', () => { client.destroy() })
    if (weather.kind === 'refuse') {
      counts.refused++
      client.resetAndDestroy()
      return
    }
    counts.accepted++
    const upstream = connect({ port: target.port, host: '127.0.0.1', allowHalfOpen: true })
    const pair = [client, upstream] as const
    pairs.add(pair)
    for (const [one, other] of [[client, upstream], [upstream, client]] as const) {
      pump(one, other)
      one.once('close', () => { if (other.destroyed) pairs.delete(pair) })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')

  const cut = (): number => {
    const open = [...pairs].filter(([client, upstream]) => !client.destroyed && !upstream.destroyed)
    for (const [client, upstream] of open) {
      client.resetAndDestroy()
      upstream.resetAndDestroy()
    }
    counts.cut += open.length
    return open.length
  }
  return {
    port: (server.address() as AddressInfo).port, counts, cut,
    open: () => [...pairs].filter(([client, upstream]) => !client.destroyed && !upstream.destroyed).length,
    set(next) {
      weather = next
      changed.resolve()
      changed = Promise.withResolvers()
    },
    async [Symbol.asyncDispose]() {
      closing.abort()
      changed.resolve()
      const closed = once(server, 'close')
      server.close()
      for (const pair of pairs) for (const socket of pair) socket.destroy()
      await closed
    },
  }
}
