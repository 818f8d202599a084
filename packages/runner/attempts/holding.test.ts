import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Stop, Work } from '@swarm/contract/runner-protocol.ts'
import { expect, test } from 'vitest'
import { createServerLink } from '../link/server-link.ts'
import { Holding } from './holding.ts'
import { instant, Lease } from './lease.ts'
import { Reporter } from './reporter.ts'
import { WorkFailure } from './work-failure.ts'

/** What becomes of work when the server answers a beat so. */
async function beaten(stop: Omit<Stop, 'id'>): Promise<{ stopped: unknown; lost: boolean }> {
  const server = createServer((request, response) => {
    request.resume().on('end', () => { response.setHeader('content-type', 'application/json').end(JSON.stringify({ stop: [{ id: 'ATT-1', ...stop }] })) })
  })
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  try {
    const link = createServerLink({ baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, token: 't', parted: new AbortController().signal, onTrouble: () => {} })
    await using holding = new Holding(link, { bootId: 'boot-0001', beatMs: 10_000, vms: () => [], noRoom: () => null, usage: () => [], onError: (error) => { throw error } })
    const key = { kind: 'attempt' as const, id: 'ATT-1', fence: 1 }
    const held = {
      key, work: {} as Work, stop: new AbortController(), lost: new AbortController(), lease: new Lease(30_000, instant()),
      reporter: new Reporter(link, key, { signal: new AbortController().signal, permit: () => {}, onError: () => {} }),
    }
    const told = new Promise((resolve) => { for (const { signal } of [held.stop, held.lost]) signal.addEventListener('abort', resolve) })
    holding.add(held)
    await told
    return { stopped: held.stop.signal.reason, lost: held.lost.signal.aborted }
  } finally {
    server.close()
  }
}

test.each(['stale_fence', 'stalled', 'lost'])('work that a person stops with the word "%s" is saved and given back like any other', async (reason) => {
  const { stopped, lost } = await beaten({ code: 'stopped', reason })
  expect(lost).toBe(false)
  expect(stopped).toBeInstanceOf(Error)
  expect(stopped).not.toBeInstanceOf(WorkFailure)
})

test('work whose lease is gone is dropped, and work that stalled has failed, whatever the words', async () => {
  expect(await beaten({ code: 'lost', reason: 'any' })).toEqual({ stopped: undefined, lost: true })
  expect(await beaten({ code: 'stalled', reason: 'any' })).toMatchObject({ stopped: { failureClass: 'agent', reason: 'stalled' }, lost: false })
})
