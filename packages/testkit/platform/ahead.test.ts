import { createAgent } from '@swarm/contract/endpoints/agents.ts'
import { createProject, updateProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository, showRepository } from '@swarm/contract/endpoints/repositories.ts'
import { cancelTicket, createTicket } from '@swarm/contract/endpoints/tickets.ts'
import { registerRunner, upcoming, type Upcoming } from '@swarm/contract/runner-protocol.ts'
import { git } from '@swarm/git/run.ts'
import { makeAhead } from '@swarm/runner/attempts/ahead.ts'
import { createServerLink } from '@swarm/runner/link/server-link.ts'
import { eachDialect, type TestDatabase } from '@swarm/server/db/testing.ts'
import { identity } from '@swarm/server/integrations/builtin-code-host/bare.ts'
import { startTestServer } from '@swarm/server/testing.ts'
import { expect, test } from 'vitest'

const NOTHING = { packages: [], npm: [], files: [] }

async function world(place: TestDatabase) {
  const server = await startTestServer(place, { settings: { 'vm.memoryMb': 1024, 'vm.scratchMb': 2048 } })
  const { admin } = server
  const { id: projectId } = await admin.call(createProject, { body: { slug: 'p' } })
  const repository = await admin.call(createRepository, { body: { projectId, slug: 'r', readme: 'text\n', swarmYml: 'image: { packages: [python3] }\n' } })
  await admin.call(createAgent, { body: { name: 'writer', definition: { config: { template: 'shell', commands: ['true'] } } } })
  await admin.call(createAgent, { body: { name: 'large', definition: { config: { template: 'shell', commands: ['true'] }, vm: { memoryMb: 4096 } } } })
  const ticket = (agent: string) => admin.call(createTicket, { body: { projectId, repositoryId: repository.id, title: agent, agent } })
  const { token } = await admin.call(registerRunner, { body: { name: 'local' } })
  const { path } = await admin.call(showRepository, { params: { repositoryId: repository.id } })
  /** As a merge would: main has another swarm.yml. */
  const land = async (swarmYml: string) => {
    const blob = (await git(path, ['hash-object', '-w', '--stdin'], { input: swarmYml })).stdout.trim()
    const readme = (await git(path, ['rev-parse', 'main:README.md'])).stdout.trim()
    const tree = (await git(path, ['mktree'], { input: `100644 blob ${readme}\tREADME.md\n100644 blob ${blob}\tswarm.yml\n` })).stdout.trim()
    const commit = (await git(path, ['commit-tree', tree, '-p', 'main', '-m', 'x'], { env: identity() })).stdout.trim()
    await git(path, ['update-ref', 'refs/heads/main', commit])
  }
  return { server, admin, projectId, ticket, token, land, ask: async (known: string[] = []) => (await server.as(token).call(upcoming, { body: { known } })).items }
}

eachDialect((_dialect, make) => {
  test('a runner is told what open tickets will start from, once, again when main has other inputs, and not of tickets that are over', async () => {
    await using place = await make()
    const { server, admin, projectId, ticket, land, ask } = await world(place)
    await using _server = server
    expect(await ask()).toEqual([])
    const first = await ticket('writer')
    const [one] = await ask()
    expect(await ask()).toEqual([{ digest: expect.any(String) as string, image: { ...NOTHING, packages: ['python3'] }, memoryMb: 1024, diskMb: 2048 }])
    expect(await ask([one!.digest])).toEqual([])
    await ticket('large')
    // Its checks have the size of the others.
    expect(await ask([one!.digest])).toMatchObject([{ memoryMb: 4096 }])
    await land('image: { packages: [python3, jq], files: [{ from: README.md, to: /etc/text, mode: "0600" }] }\nlimits: { memoryMb: 2048, diskMb: 1024 }\n')
    const both = await ask([one!.digest])
    // The tightest that anybody states: what the agent asks for beyond that it does not get.
    expect(both.map(({ memoryMb, diskMb }) => [memoryMb, diskMb])).toEqual([[2048, 1024]])
    expect(both[0]!.image).toEqual({ packages: ['python3', 'jq'], npm: [], files: [{ path: '/etc/text', mode: 0o600, content: Buffer.from('text\n').toString('base64') }] })
    await land('image: { packages: ["--bad"] }\n')
    expect(await ask()).toEqual([])
    await land('')
    await admin.call(updateProject, { params: { projectId }, body: { settings: { vm: { memoryMb: 768 } } } })
    expect(await ask()).toMatchObject([{ memoryMb: 768, image: NOTHING }])
    await admin.call(updateProject, { params: { projectId }, body: { settings: { vm: {} } } })
    await admin.call(cancelTicket, { params: { ticketId: first.id }, body: { reason: 'not needed' } })
    expect(await ask()).toMatchObject([{ memoryMb: 4096, image: NOTHING }, { memoryMb: 1024 }])
  })

  test('what comes is made ahead of the work, one after the other; what cannot be made is left to the work that needs it', async () => {
    await using place = await make()
    const { server, ticket, token, land } = await world(place)
    await using _server = server
    await ticket('writer')
    const made: Upcoming['image'][] = []
    const troubles: string[] = []
    const stop = new AbortController()
    const link = createServerLink({ baseUrl: server.url, token, parted: stop.signal, onTrouble: () => {} })
    const running = makeAhead(link, {
      async prepare({ image }) {
        made.push(image)
        if (made.length === 1) throw new Error('no room')
        if (made.length === 2) stop.abort(new Error('seen enough'))
      },
    }, stop.signal, { askMs: 10, onTrouble: (error) => { troubles.push(String(error)); void land('image: { packages: [jq] }\n') } })
    await expect(running).rejects.toThrow()
    expect(made.map(({ packages }) => packages)).toEqual([['python3'], ['jq']])
    expect(troubles).toEqual(['Error: no room'])
  })
})
