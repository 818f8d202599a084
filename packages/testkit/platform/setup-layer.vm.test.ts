import { createAgent } from '@swarm/contract/endpoints/agents.ts'
import { listChecks, showCheck } from '@swarm/contract/endpoints/checks.ts'
import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository, showRepository } from '@swarm/contract/endpoints/repositories.ts'
import { createTicket, showTicket } from '@swarm/contract/endpoints/tickets.ts'
import { git } from '@swarm/git/run.ts'
import { listBuilds, readBuildLog } from '@swarm/runner/images/builds.ts'
import { listLayers } from '@swarm/runner/images/layers.ts'
import { expect, test } from 'vitest'
import { startTestPlatform } from './platform.ts'
import { until } from './until.ts'

/** Writes what no second run would write again: into the workspace, the home, and the system. */
const SETUP = 'mkdir -p node_modules && head -c 8 /dev/urandom | od -An -tx1 | tr -d " \\n" > node_modules/stamp && cp node_modules/stamp ~/stamp && cp node_modules/stamp /usr/local/share/stamp && ls > node_modules/seen'
const STAMPS = 'cat node_modules/stamp; echo; cat ~/stamp; echo; cat /usr/local/share/stamp; echo'

test('a setup runs once for attempts and checks that start from the same lockfiles, in a microVM that holds nothing else, and anew for others', async () => {
  await using platform = await startTestPlatform()
  const { admin, context } = platform.server
  const project = await admin.call(createProject, { body: { slug: 'layers' } })
  const slug = `r${Date.now()}`
  const repository = await admin.call(createRepository, { body: { projectId: project.id, slug, readme: 'one\n', swarmYml: `checks:\n  setup: ${JSON.stringify(SETUP)}\n  test: ${JSON.stringify(`${STAMPS}; test -f hello-*.txt`)}\nsetup: { inputs: [README.md] }\n` } })
  const ticket = async (name: string, commands: string[]) => {
    await admin.call(createAgent, { body: { name, definition: { config: { template: 'shell', commands } } } })
    return (await admin.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title: name, agent: name } })).id
  }
  const checkOf = async (ticketId: string) => {
    const [check] = (await admin.call(listChecks, { query: { ticketId } })).items
    return check === undefined ? null : admin.call(showCheck, { params: { checkId: check.id } })
  }
  const ended = async (ticketId: string) => {
    await until(context, async () => ['passed', 'failed', 'error'].includes((await checkOf(ticketId))?.state ?? ''))
    return (await checkOf(ticketId))!
  }
  const { path } = await admin.call(showRepository, { params: { repositoryId: repository.id } })
  const stampsOf = async (ticketId: string, file: string) => {
    const [attempt] = (await admin.call(showTicket, { params: { ticketId } })).history
    return (await git(path, ['show', `refs/swarm/attempts/${attempt!.id}/work:${file}`])).stdout
  }

  // Both begin at once: one makes the layer, the other waits for it.
  const both = [await ticket('first', [`(${STAMPS}) > hello-1.txt`]), await ticket('second', [`(${STAMPS}) > hello-2.txt; cat node_modules/seen >> hello-2.txt`])]
  const checks = await Promise.all(both.map(ended))
  const [stamp = ''] = (await stampsOf(both[0]!, 'hello-1.txt')).split('\n')
  expect(stamp).toMatch(/^[0-9a-f]{16}$/)
  const stamps = `${stamp}\n`.repeat(3)
  expect(await stampsOf(both[0]!, 'hello-1.txt')).toBe(stamps)
  // Where the setup ran there was the file that it is known to read, and not the rest of the repository.
  expect(await stampsOf(both[1]!, 'hello-2.txt')).toBe(`${stamps}README.md\nnode_modules\n`)
  for (const check of checks) {
    expect(check).toMatchObject({ state: 'passed', results: [{ name: 'setup', exitCode: 0, output: expect.stringContaining('from the layer') }, { name: 'test', output: stamps }] })
  }
  const layers = listLayers(context.config.cache).filter((layer) => layer.repository === `layers/${slug}`)
  expect(layers).toMatchObject([{ command: SETUP, problem: null }])
  const [build] = listBuilds(context.config.cache).filter(({ key }) => key === layers[0]!.key)
  expect(readBuildLog(build!)).toContain(`$ ${SETUP}`)

  // Work that changes what the setup reads begins from the layer, and its check runs the setup itself: main does not have it.
  const third = await ticket('third', ['echo two > README.md; touch hello-3.txt'])
  const other = await ended(third)
  expect(other).toMatchObject({ state: 'passed', results: [{ name: 'setup', output: '' }, { name: 'test', output: expect.not.stringContaining(stamp) }] })
  expect(listLayers(context.config.cache).filter((layer) => layer.repository === `layers/${slug}`)).toHaveLength(1)
})
