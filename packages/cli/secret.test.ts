import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeDesk, type Desk } from './testing.ts'

const VALUE = 'planted-value-of-the-command-line'
let desk: Desk
beforeAll(async () => {
  desk = makeDesk()
  expect(await desk.swarm(['start', '--port', '0', '--json'])).toMatchObject({ code: 0 })
  expect(await desk.swarm(['project', 'create', 'shop'])).toMatchObject({ code: 0 })
}, 180_000)
afterAll(async () => { await desk[Symbol.asyncDispose]() })

test('a secret is set from standard input and from a file, listed without its value, kept under a new key, and removed by its name', { timeout: 120_000 }, async () => {
  const child = desk.spawn(['secret', 'set', 'registry', '--project', 'shop', '--host', 'npm.example.com', '--json'], {}, 'pipe')
  child.stdin?.end(`${VALUE}\n`)
  const [answer, [code]] = await Promise.all([text(child.stdout!), once(child, 'close')])
  expect([code, JSON.parse(answer)]).toMatchObject([0, { name: 'registry', version: 1, hosts: ['npm.example.com'], injection: { kind: 'header', header: 'authorization', format: 'Bearer {secret}' } }])
  desk.write('value.txt', `${VALUE}\n`)
  expect(await desk.swarm(['secret', 'set', 'api', '--host', 'api.example.com', '--basic-user', 'bot', '--from-file', 'value.txt', '--json'])).toMatchObject({ code: 0, json: { projectId: null, injection: { kind: 'basic', username: 'bot' } } })
  const listed = await desk.swarm(['secret', 'list', '--project', 'shop'])
  expect(listed.stdout).toMatch(/registry +PRJ-.*npm\.example\.com/)
  expect(listed.stdout).toMatch(/api +every project/)
  expect(await desk.swarm(['secret', 'rotate-keys', '--new-key', '--json'])).toMatchObject({ json: { rewrapped: 2 } })
  expect(await desk.swarm(['secret', 'remove', 'registry'])).toMatchObject({ code: 2, stderr: expect.stringContaining('There is no secret registry.') as string })
  expect(await desk.swarm(['secret', 'remove', 'registry', '--project', 'shop', '--json'])).toMatchObject({ code: 0, json: { removed: { name: 'registry' } } })
  expect((await desk.swarm(['secret', 'list', '--json'])).json).toMatchObject({ secrets: [{ name: 'api' }] })
  expect(`${answer}${listed.stdout}${listed.stderr}`).not.toContain(VALUE)
  expect(await desk.swarm(['secret', 'set', 'x', '--host', '*.example.com', '--from-file', 'value.txt', '--json'])).toMatchObject({ json: { error: { code: 'invalid_input' } } })
})
