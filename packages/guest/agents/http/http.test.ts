import { existsSync, readFileSync, symlinkSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { agentHarness, buildTask, type Harness } from '../harness.ts'

let harness: Harness
let server: Server
let url: string
const seen: string[] = []
beforeAll(async () => {
  harness = await agentHarness()
  server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString('utf8')))
    request.on('end', () => {
      seen.push(`${request.method} ${request.url} ${body}`)
      if (request.url === '/missing') response.writeHead(404).end('no such thing')
      else if (request.url === '/moved') response.writeHead(302, { location: '/data' }).end()
      else response.end(JSON.stringify({ echo: body }))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.close()
  harness[Symbol.dispose]()
})

describe('the http template', () => {
  test('performs the operations and saves bodies inside the workspace', async () => {
    const workspace = harness.workspace()
    const run = await harness.run(buildTask(workspace, { template: 'http', operations: [
      { method: 'POST', url: `${url}/data`, body: 'hello', save: 'data/answer.json' },
      { method: 'GET', url: `${url}/missing`, expectStatus: [404] },
    ] }))
    expect(run.outcome).toEqual({ type: 'finished', summary: 'Performed 2 operations.' })
    expect(JSON.parse(readFileSync(path.join(workspace, 'data/answer.json'), 'utf8'))).toEqual({ echo: 'hello' })
  })

  test.each([['a status that was not expected', '/missing', 'answered 404'], ['a redirect', '/moved', 'answered 302']])('fails the agent on %s', async (_, route, message) => {
    const run = await harness.run(buildTask(harness.workspace(), { template: 'http', operations: [{ method: 'GET', url: url + route, save: 'x' }] }))
    expect(run.outcome).toMatchObject({ type: 'failed', failureClass: 'agent', reason: 'unexpected_status', message: expect.stringContaining(message) })
  })

  test.each([['a path above it', '../escaped.txt'], ['an absolute path', path.resolve('swarm-escaped.txt')], ['a symbolic link', 'link/escaped.txt'], ['a dangling link', 'dangling'], ["git's own data", '.git/hooks/pre-commit']])(
    'refuses to save outside the workspace through %s, before anything is asked',
    async (_, save) => {
      const workspace = harness.workspace()
      symlinkSync(harness.folder, path.join(workspace, 'link'))
      symlinkSync(path.join(harness.folder, 'nowhere'), path.join(workspace, 'dangling'))
      seen.length = 0
      const run = await harness.run(buildTask(workspace, { template: 'http', operations: [{ method: 'GET', url: `${url}/data`, save }] }))
      expect(run.outcome).toMatchObject({ type: 'failed', failureClass: 'agent', reason: expect.stringMatching(/outside_workspace|protected_path/) })
      expect(seen).toEqual([])
      expect([path.join(harness.folder, 'escaped.txt'), path.resolve('swarm-escaped.txt')].filter((file) => existsSync(file))).toEqual([])
    },
  )

  test('fails the agent with the cause when nothing answers', async () => {
    const run = await harness.run(buildTask(harness.workspace(), { template: 'http', operations: [{ method: 'GET', url: 'http://127.0.0.1:9/' }] }))
    expect(run.outcome).toMatchObject({ type: 'failed', failureClass: 'agent', reason: 'operation_failed' })
  })
})
