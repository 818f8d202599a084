import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { INVARIANTS } from '@swarm/contract/integrity.ts'
import { expect, test } from 'vitest'
import { checkInstallation } from '../crash/check-installation.ts'
import { startInstallation } from './installation.ts'
import { startPeople } from './people.ts'
import { plant } from './plants.ts'
import { runChaos } from './run.ts'
import { populate, settle } from './stage.ts'

const { signal } = new AbortController()
const notes: string[] = []
const onNote = (line: string): void => { notes.push(line) }

test('forty and more faults of most kinds leave every promise kept and every ticket accounted for', async () => {
  const result = await runChaos({ seed: 21, seconds: 42, driver: 'process', signal, onNote })
  expect(result.violations).toEqual([])
  expect(result.unsettled).toEqual([])
  expect(result.faults, notes.join('\n')).toBeGreaterThanOrEqual(40)
  expect(result.merges).toBeGreaterThan(0)
  expect(Object.values(result.byState).reduce((sum, count) => sum + count, 0)).toBe(result.tickets)
}, 300_000)

const { seeds } = JSON.parse(readFileSync(new URL('seeds.json', import.meta.url), 'utf8')) as { seeds: { seed: number; seconds: number; database?: 'postgres'; found: string }[] }
test.each(seeds)('seed $seed is clean, which once showed: $found', async ({ seed, seconds, database }) => {
  const result = await runChaos({ seed, seconds, database, driver: 'process', signal, onNote })
  expect(result).toMatchObject({ violations: [], unsettled: [] })
}, 300_000)

test('each planted breach is found, as the promise that it breaks and no other; nothing is left of the run', async () => {
  let folder = ''
  {
    await using installation = await startInstallation({ driver: 'process', onNote, signal })
    folder = installation.folder
    const { projectId, repositories, gamma } = await populate(installation)
    await using people = startPeople({ client: installation.client, inFlight: 4, seed: 4, projectId, repositories, onNote })
    while (people.tickets().length === 0) await delay(50)
    expect(await settle(people, installation, { signal, onNote })).toEqual([])
    await people[Symbol.asyncDispose]()
    const check = async (): Promise<string[]> => {
      const { violations } = await checkInstallation({ home: installation.home, modelLog: installation.modelLog, settled: true, live: true })
      return violations.map((violation) => JSON.stringify(violation))
    }
    let known = await check()
    expect(known).toEqual([])
    for (const invariant of INVARIANTS) {
      using _planted = await plant(invariant, { installation, projectId, gamma })
      const found = await check()
      const fresh = found.filter((each) => !known.includes(each)).map((each) => (JSON.parse(each) as { invariant: string }).invariant)
      expect([invariant, ...new Set(fresh)]).toEqual([invariant, invariant])
      known = found
    }
  }
  expect(existsSync(folder)).toBe(false)
}, 300_000)

test('a run that is stopped in the middle throws, and leaves nothing behind', async () => {
  const stop = new AbortController()
  const before = notes.length
  const run = runChaos({ seed: 5, seconds: 60, driver: 'process', signal: stop.signal, onNote: (line) => {
    onNote(line)
    if (notes.length - before === 6) stop.abort(new Error('enough'))
  } })
  await expect(run).rejects.toThrow('enough')
}, 120_000)
