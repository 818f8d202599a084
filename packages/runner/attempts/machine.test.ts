import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'
import { resolveSettings } from '@swarm/contract/config.ts'
import type { status, Work } from '@swarm/contract/runner-protocol.ts'
import type { z } from 'zod'
import { expect, test } from 'vitest'
import { createProcessDriver } from '../drivers/process/process.ts'
import { createAdmission } from '../host/admission.ts'
import { createServerLink } from '../link/server-link.ts'
import { provision } from './machine.ts'
import { createMachines } from './machines.ts'
import { Reporter } from './reporter.ts'

const GB = 1024 ** 3
const ROOM = { memoryTotalBytes: 4 * GB, memoryFreeBytes: 4 * GB, cores: 1, scratchTotalBytes: GB, scratchFreeBytes: GB, templateTotalBytes: GB, templateFreeBytes: GB }
const NEEDS = { memoryBytes: 3 * GB, cores: 1, scratchBytes: 0, templateBytes: 0 }

test('work that waits for room says so as a step of its own, with what is lacking, and goes on when there is room', async () => {
  const reports: z.input<NonNullable<typeof status.body>>[] = []
  const server = createServer(async (request, response) => {
    reports.push(await json(request) as (typeof reports)[number])
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ recorded: true }))
  })
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  const serverUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const home = mkdtempSync(join(tmpdir(), 'swarm-machine-test-'))
  const { signal } = new AbortController()
  try {
    await using driver = await createProcessDriver({ stateDir: home })
    const admission = createAdmission({ readRoom: () => ROOM, rules: { memoryReserveBytes: 0, diskReserveBytes: 0, cpuOvercommit: 2 } })
    const { config: settings } = resolveSettings({ env: {}, argv: { home, cache: home }, userFolder: home })
    const link = createServerLink({ baseUrl: serverUrl, token: 't', parted: signal, onTrouble: () => {} })
    const reporter = new Reporter(link, { kind: 'attempt', id: 'ATT-1', fence: 1 }, { signal, permit: () => {}, onError: (error) => { throw error } })
    const machines = createMachines({ driver, admission, settings, serverUrl, onProgress: () => {} })
    const other = await admission.acquire(NEEDS, signal)
    const place = admission.acquire(NEEDS, signal)
    const work = { limits: { cpu: 1, memoryMb: 512, diskMb: 64, minutes: 1, egressBytes: 1, pids: 1, outputBytes: 1 }, image: { packages: [], npm: [] }, egressAllow: [], token: 't', correlationId: 'c' } as unknown as Work
    const provisioned = provision({ link, machines, place, reporter, stop: signal, lost: signal, permit: () => {}, onTrouble: () => {} }, work)
    await expect.poll(() => reports.map(({ step }) => step), { timeout: 10_000 }).toEqual([{ name: 'room', state: 'started', detail: 'waits for room: 1.0 GB of memory free, 3.0 GB needed' }])
    other[Symbol.dispose]()
    const { vm, ended } = await provisioned
    await vm[Symbol.asyncDispose]()
    await ended
    await reporter.flush()
    expect(reports.flatMap(({ step, vm: told }) => [step && `${step.name} ${step.state}`, told && `microVM ${told.state}`].filter((each) => each !== undefined))).toEqual(['room started', 'room done', 'microVM starting', 'microVM running', 'microVM ended'])
  } finally {
    server.close()
    rmSync(home, { recursive: true, force: true })
  }
})
