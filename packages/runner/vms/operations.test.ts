import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import { expect, test, vi } from 'vitest'
import type { VmDriver } from '../drivers/driver.ts'
import { createServerLink } from '../link/server-link.ts'
import { startOperations } from './operations.ts'
import { createVmRegistry } from './registry.ts'

test('a server that fails for longer than a call is repeated is asked for operations again', async () => {
  // Only the clock by which patience is measured: what waits really waits.
  vi.useFakeTimers({ toFake: ['performance'] })
  const troubles: string[] = []
  const told = Promise.withResolvers<unknown>()
  let works = false
  let given = false
  const server = createServer((request, response) => void (async () => {
    const body = await json(request)
    if (request.url === '/operations/end') told.resolve(body)
    const operations = works && !given ? [{ id: 'OPN-1', vmId: 'VM-1', correlationId: 'c', input: { kind: 'kill', reason: 'r' } }] : []
    given ||= works
    vi.advanceTimersByTime(61_000)
    response.writeHead(works ? 200 : 500, { 'content-type': 'application/json' })
    response.end(JSON.stringify(!works ? { error: { code: 'internal', message: 'it burns', remedy: 'wait', details: {}, correlationId: 'c' } } : request.url === '/operations/end' ? { recorded: true } : { operations }))
  })())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const serverUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const closing = new AbortController()
  const link = createServerLink({ baseUrl: serverUrl, token: 't', parted: closing.signal, onTrouble: () => {} })
  const operations = startOperations({
    link, vms: createVmRegistry(), driver: { name: 'process' } as VmDriver, acquireFork: () => { throw new Error('nothing is forked') }, noRoom: () => null, bootId: 'boot-0001', serverUrl, token: 't', closing: closing.signal,
    onTrouble: (_error, what) => { troubles.push(what) },
  })
  try {
    await expect.poll(() => troubles).not.toEqual([])
    works = true
    expect(await told.promise).toMatchObject({ operationId: 'OPN-1', failure: expect.stringContaining('VM-1') as string })
  } finally {
    closing.abort()
    await operations[Symbol.asyncDispose]()
    server.closeAllConnections()
    server.close()
    vi.useRealTimers()
  }
})
