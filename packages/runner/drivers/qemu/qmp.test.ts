import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { attachQmp } from './qmp.ts'

/** Both ends of a control socket; QEMU's is left to the test. */
async function pair(): Promise<{ ours: Socket; qemu: Socket }> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const ours = connect((server.address() as { port: number }).port, '127.0.0.1')
  const [qemu] = await once(server, 'connection') as [Socket]
  server.close()
  return { ours, qemu: qemu.on('error', () => undefined) }
}

test.each([
  ['says what is no JSON', 'garbage\n'], ['says what is no message', '5\nnull\n'], ['never ends a line', 'x'.repeat(2 * 1024 ** 2)],
])('a QEMU that %s loses its control socket, and what waits for it fails', async (_what, bytes) => {
  const { ours, qemu } = await pair()
  qemu.write('{"QMP": {}}\n')
  qemu.once('data', () => { qemu.write('{"return": {}}\n') })
  const qmp = await attachQmp(ours)
  qemu.on('data', () => undefined)
  const over = new Promise((resolve) => { qemu.once('close', resolve) })
  const asked = qmp.command('query-status')
  qemu.write(bytes)
  await expect(asked).rejects.toThrow('QEMU has closed its control socket')
  await over
})
