import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { identityOf, isAlive } from '@swarm/cli/platform/processes.ts'
import { holdStopped } from './keeper.ts'
import { killSeen, stateOf, stopSeen } from './inject/processes.ts'
import { seen } from './inject/site.ts'
import { recoveries } from './recovery.ts'

const { signal } = new AbortController()

function sleeper() {
  const child = spawn('sleep', ['60'], { stdio: 'ignore' })
  const ended = once(child, 'exit')
  const identity = identityOf(child.pid!)!
  return { child, identity, ended, [Symbol.dispose]: () => { child.kill('SIGKILL') } }
}

test('a kill counts when the process was seen gone', async () => {
  using victim = sleeper()
  const before = Date.now()
  expect((await killSeen([victim.identity], signal))?.at).toBeGreaterThanOrEqual(before)
  expect(isAlive(victim.identity)).toBe(false)
  expect(await victim.ended).toEqual([null, 'SIGKILL'])
})

test('a kill of a process that had ended by itself does not count', async () => {
  using victim = sleeper()
  victim.child.kill('SIGTERM')
  await victim.ended
  expect(await killSeen([victim.identity], signal)).toBeNull()
})

test('a stop counts while the process was seen stopped, and it goes on afterwards', async () => {
  using victim = sleeper()
  const stopped = stopSeen([victim.identity], 200, signal)
  expect(await seen(() => (stateOf(victim.identity.pid) === 'T' ? true : null), { signal })).toBe(true)
  expect(await stopped).not.toBeNull()
  expect(await seen(() => (stateOf(victim.identity.pid) === 'S' ? true : null), { signal })).toBe(true)
  victim.child.kill('SIGTERM')
  await victim.ended
  expect(await stopSeen([victim.identity], 10, signal)).toBeNull()
})

test('a process stays stopped no longer than whoever stopped it lives, kill -9 included', async () => {
  using victim = sleeper()
  const holder = spawn(process.execPath, ['--input-type=module', '-e', `
    const { holdStopped } = await import(${JSON.stringify(new URL('keeper.ts', import.meta.url).href)})
    await holdStopped([${victim.identity.pid}])
    process.kill(process.pid, 'SIGKILL')`], { stdio: 'ignore' })
  await once(holder, 'exit')
  expect(holder.signalCode).toBe('SIGKILL')
  expect(await seen(() => (stateOf(victim.identity.pid) === 'S' ? true : null), { signal })).toBe(true)
})

test('stopping what is not there is an error that says so', async () => {
  using victim = sleeper()
  victim.child.kill('SIGKILL')
  await victim.ended
  await expect(holdStopped([victim.identity.pid])).rejects.toThrow(/No such process/)
})

test('a recovery is the first event of progress of the same area after the fault, and nothing else', () => {
  const events = [
    { type: 'ticket:update', at: 90, data: {} }, { type: 'approval:requested', at: 105, data: {} }, { type: 'model:call', at: 120, data: { status: 529 } },
    { type: 'ticket:progress', at: 130, data: {} }, { type: 'model:call', at: 150, data: { status: 200 } },
  ]
  expect(recoveries([{ area: 'server', at: 100 }, { area: 'runner', at: 100 }, { area: 'model', at: 100 }, { area: 'model', at: 160 }], events)).toEqual([5, 30, 50, null])
})
