import { createServer } from 'node:http'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { vmLogsCommand } from './commands/vm/logs.ts'
import { writeRunFile } from './platform/run-file.ts'

test('what a microVM wrote steers no terminal: people get its text, programs get it as it is', async () => {
  const logs = {
    output: 'one\ttab\n\u001b[31mred\u001b[0m \u001b]0;a title\u0007\u001b]52;c;ZXZpbA==\u001b\\pasted\n10 %\r20 %\r\nhalf \u001b[ a \u009b31m c1 \b\u007f\0end\n',
    console: '[ 0.1] boot\r\n\u001bc[ 0.2] gr\u00fc\u00dfe \u2713\r\r\n', truncated: false,
  }
  const server = createServer((_request, response) => { response.setHeader('content-type', 'application/json').end(JSON.stringify(logs)) })
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  const home = mkdtempSync(join(tmpdir(), 'swarm-vm-logs-'))
  try {
    writeRunFile(home, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, model: 'none', startedAt: 1, processes: [] })
    writeFileSync(join(home, 'admin-token'), 't')
    const outcome = await vmLogsCommand.run(vmLogsCommand.input.parse({ id: 'VM-1' }), { settings: () => ({ config: { home, client: {} } }), signal: new AbortController().signal } as never)
    expect(outcome.json).toEqual(logs)
    expect(outcome.text).toBe('one\ttab\nred pasted\n10 %\n20 %\nhalf [ a  c1 end\n\n--- console ---\n[ 0.1] boot\n[ 0.2] gr\u00fc\u00dfe \u2713\n')
  } finally {
    server.close()
    rmSync(home, { recursive: true })
  }
})
