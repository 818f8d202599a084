import { createServer } from 'node:http'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { ticketRetry } from './commands/ticket/retry.ts'
import { writeRunFile } from './platform/run-file.ts'

test('a retry of all goes on behind pages of tickets that stay where they are, and says which were left', async () => {
  const pages = [
    { sent: [], left: [{ ticketId: 'TKT-1', reason: 'it waits' }], nextCursor: '1.TKT-1' },
    { sent: [], left: [{ ticketId: 'TKT-2', reason: 'it waits' }], nextCursor: '2.TKT-2' },
    { sent: ['TKT-3'], left: [], nextCursor: null },
  ]
  const asked: unknown[] = []
  const server = createServer((request, response) => {
    void json(request).then((body) => {
      asked.push(body)
      response.setHeader('content-type', 'application/json').end(JSON.stringify(pages[asked.length - 1]))
    })
  })
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  const home = mkdtempSync(join(tmpdir(), 'swarm-retry-'))
  try {
    writeRunFile(home, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, model: 'none', startedAt: 1, processes: [] })
    writeFileSync(join(home, 'admin-token'), 't')
    const outcome = await ticketRetry.run(ticketRetry.input.parse({ all: true, state: 'on_hold' }), { settings: () => ({ config: { home, client: {} } }), signal: new AbortController().signal } as never)
    expect(outcome.json).toEqual({ sent: ['TKT-3'], left: [{ ticketId: 'TKT-1', reason: 'it waits' }, { ticketId: 'TKT-2', reason: 'it waits' }] })
    expect(outcome.text).toBe('1 sent back to work\n  TKT-1 is left: it waits\n  TKT-2 is left: it waits')
    expect(asked).toEqual([{ waiting: false, state: 'on_hold' }, { waiting: false, state: 'on_hold', cursor: '1.TKT-1' }, { waiting: false, state: 'on_hold', cursor: '2.TKT-2' }])
  } finally {
    server.close()
    rmSync(home, { recursive: true })
  }
})
