import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { agentHarness, buildTask, type Harness } from '../harness.ts'

let harness: Harness
beforeAll(async () => { harness = await agentHarness() })
afterAll(() => harness[Symbol.dispose]())

describe('the shell template', () => {
  test('runs the commands in the workspace, in order, and finishes', async () => {
    const workspace = harness.workspace()
    const run = await harness.run(buildTask(workspace, { template: 'shell', commands: ['printf one > a.txt', 'cat a.txt; printf two >> a.txt'] }))
    expect(run.outcome).toEqual({ type: 'finished', summary: 'Ran 2 commands.' })
    expect(readFileSync(path.join(workspace, 'a.txt'), 'utf8')).toBe('onetwo')
    const finals = run.events.filter((event) => event.type === 'command' && !event.partial)
    expect(finals).toMatchObject([{ exitCode: 0, output: '' }, { exitCode: 0, output: 'one' }])
    expect(run.exitCode).toBe(0)
  })

  test('fails the agent at the first command that exits non-zero and runs none after it', async () => {
    const workspace = harness.workspace()
    const run = await harness.run(buildTask(workspace, { template: 'shell', commands: ['echo no >&2; exit 3', 'touch later'] }))
    expect(run.outcome).toMatchObject({ type: 'failed', failureClass: 'agent', reason: 'command_failed', message: expect.stringContaining('exited with 3') })
    expect(run.events.at(-2)).toMatchObject({ type: 'command', exitCode: 3, output: 'no\n' })
    expect(existsSync(path.join(workspace, 'later'))).toBe(false)
  })

  test('reports output while a command still runs', async () => {
    let killed = false
    const run = await harness.run(buildTask(harness.workspace(), { template: 'shell', commands: ['echo first; exec sleep 600'] }), {
      onEvent: (event, kill) => {
        if (event.type !== 'command' || !event.partial) return
        killed = true
        kill('SIGTERM')
      },
    })
    expect(killed).toBe(true)
    expect(run.events[0]).toMatchObject({ type: 'command', partial: true, exitCode: null, output: 'first\n' })
    expect(run.outcome).toMatchObject({ type: 'failed', failureClass: 'infrastructure', reason: 'cancelled' })
  })

  test('bounds the output of a command and says how much it left out', async () => {
    const run = await harness.run(buildTask(harness.workspace(), { template: 'shell', commands: ['head -c 2000000 /dev/zero | tr "\\0" x; echo end'] }))
    const final = run.events.find((event) => event.type === 'command' && !event.partial)
    if (final?.type !== 'command') throw new Error('no command event')
    expect(final.output).toMatch(/\[… 1970004 bytes of output left out …\]/)
    expect(final.output.endsWith('end\n')).toBe(true)
    const live = run.events.filter((event) => event.type === 'command' && event.partial).reduce((sum, event) => sum + (event.type === 'command' ? event.output.length : 0), 0)
    expect(live).toBeLessThan(300_000)
  })

  test('ends with time_limit and leaves no process of its group behind', async () => {
    const workspace = harness.workspace()
    const run = await harness.run(buildTask(workspace, { template: 'shell', commands: ['sleep 600 & echo $! > pid; sleep 600'] }, { limits: { minutes: 0.01 } }))
    expect(run.outcome).toMatchObject({ type: 'failed', failureClass: 'agent', reason: 'time_limit' })
    const pid = Number(readFileSync(path.join(workspace, 'pid'), 'utf8'))
    expect(isRunning(pid)).toBe(false)
  })

  test('refuses an input that is no task with exit code 2', async () => {
    await expect(harness.run({ ...buildTask(harness.workspace(), { template: 'shell', commands: ['true'] }), attemptId: 5 as unknown as string })).rejects.toThrow(/ended with 2 .*attemptId/s)
  })
})

/** True for a live process; a killed one that nobody has reaped yet counts as gone. */
function isRunning(pid: number): boolean {
  if (!existsSync(`/proc/${pid}/stat`)) return false
  return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
}
