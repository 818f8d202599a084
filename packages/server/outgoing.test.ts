import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const OUTGOING = fileURLToPath(new URL('./outgoing.ts', import.meta.url))

test('requests of the server go through the upstream proxy that is set, and those to this machine do not', async () => {
  const asked: string[] = []
  const proxy = createServer((request, response) => { asked.push(`proxy ${request.url}`); response.end('by proxy') })
    .on('connect', (request, socket) => {
      asked.push(`proxy ${request.url}`)
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      // What comes through the tunnel is answered here, too.
      proxy.emit('connection', socket)
    }).listen(0, '127.0.0.1')
  const local = createServer((_request, response) => { asked.push('local'); response.end('direct') }).listen(0, '127.0.0.1')
  await Promise.all([once(proxy, 'listening'), once(local, 'listening')])
  const at = (server: typeof proxy): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  try {
    // For the whole process: so in one of its own.
    const script = `const { useOutgoing } = await import(${JSON.stringify(OUTGOING)}); useOutgoing({ upstreamProxy: ${JSON.stringify(at(proxy))}, caFile: undefined })
      console.log(await (await fetch('http://model.example/v1')).text(), await (await fetch(${JSON.stringify(at(local))})).text())`
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], { env: { PATH: process.env['PATH'] } })
    expect(stdout.trim()).toBe('by proxy direct')
    expect(asked[0]).toContain('proxy model.example')
    expect(asked.at(-1)).toBe('local')
  } finally {
    for (const server of [proxy, local]) { server.closeAllConnections(); server.close() }
  }
})
