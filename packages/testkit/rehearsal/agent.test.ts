import { readFileSync } from 'node:fs'
import { once } from 'node:events'
import { createServer, request as forward, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { agentHarness, buildTask } from '@swarm/guest/agents/harness.ts'
import { eachDialect } from '@swarm/server/db/testing.ts'
import { expect, it } from 'vitest'
import { MODEL, world } from './gateway-world.ts'

/** What the runner does for an agent's model calls: adds the attempt token and passes bytes on. */
async function runnerProxy(gatewayUrl: string, token: string): Promise<{ server: Server; url: string }> {
  const server = createServer((incoming, outgoing) => {
    const call = forward(`${gatewayUrl}/model${incoming.url ?? ''}`, { method: incoming.method, headers: { ...incoming.headers, host: new URL(gatewayUrl).host, authorization: `Bearer ${token}` } }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.on('error', () => outgoing.destroy()).pipe(outgoing)
    })
    call.on('error', () => outgoing.destroy())
    incoming.pipe(call)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

const SCRIPT = `
  - role: developer
    ticket: scoring
    attempt: 2
    expect: ["Score rounds", "tests_weakened"]
    turns:
      - say: I write it.
        fail: { status: 529, retryAfter: 0.05, times: 2 }
        tools:
          - { name: write_file, input: { path: src/score.js, content: "export const score = () => 20\\n" } }
          - { name: bash, input: { command: "node -e \\"import('./src/score.js').then(m => console.log('score', m.score()))\\"" } }
      - expect: [score 20]
        silence: { ms: 60000 }
        ask: { question: Which dealer?, options: [first, last] }
      - expect: [The last one.]
        cut: { afterEvents: 5 }
        tools:
          - { name: edit_file, input: { path: src/score.js, old_string: "20", new_string: "'{{lastResult}}'" } }
      - { finish: Scored., silence: { ms: 60000, afterEvents: 3 } }
`

eachDialect((_dialect, make) => {
  it('the real agent works through a script by way of the gateway: overloaded, silent, parked on a question, resumed, cut and silent in the middle of answers', async () => {
    await using place = await make()
    await using w = await world(place, SCRIPT, { cap: 5_000_000, gateway: { silenceMs: 300 } })
    using harness = await agentHarness()
    const proxy = await runnerProxy(w.url, w.token)
    try {
      const workspace = harness.workspace()
      const evidence = [{ attemptId: 'ATT-0', number: 1, failureClass: 'policy' as const, reason: 'gate', findings: [{ code: 'tests_weakened', severity: 'error' as const, path: 'test/a.test.js', line: 3, message: 'A test was skipped.', remedy: 'Take the skip back.' }] }]
      const base = buildTask(workspace, { template: 'claude', model: MODEL }, { modelBaseUrl: proxy.url, evidence })
      const task = { ...base, ticket: { ...base.ticket, title: 'Score rounds' } }
      const parked = (await harness.run(task)).outcome
      if (parked.type !== 'question') return expect.fail(JSON.stringify(parked))
      expect(parked).toMatchObject({ question: 'Which dealer?', options: ['first', 'last'] })
      const resumed = await harness.run({ ...task, resume: { transcript: parked.transcript, toolUseId: parked.toolUseId, answer: 'The last one.' } })
      expect(resumed.outcome).toMatchObject({ type: 'finished', summary: 'Scored.' })
      expect(readFileSync(join(workspace, 'src/score.js'), 'utf8')).toMatch(/The last one\./)
      expect(w.rehearsal.status()).toMatchObject({ unmet: [], unmatched: [], remaining: [] })
      const calls = await w.db.read.selectFrom('model_calls').select(['state', 'estimated', 'tries']).orderBy('created_at').execute()
      expect(calls.map((call) => [call.state, call.estimated, call.tries])).toEqual([['settled', 0, 3], ['settled', 1, 1], ['settled', 0, 2], ['settled', 1, 1], ['settled', 0, 1], ['settled', 1, 1], ['settled', 0, 1]])
    } finally {
      proxy.server.close()
      proxy.server.closeAllConnections()
    }
  }, 60_000)
})
