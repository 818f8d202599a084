import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { MachineFacts } from '../../host/machine.ts'
import { identifyProcess } from '../../host/processes.ts'
import type { Image } from '../../images/image.ts'
import { probeKvm } from './kvm.ts'

const MACHINE: MachineFacts = { cpuModel: 'some CPU', kernelRelease: '6', bootId: 'boot', qemuVersion: 'QEMU 7' }
let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'swarm-kvm-test-'))
  writeFileSync(join(folder, 'kvm'), '')
})
afterEach(() => {
  vi.useRealTimers()
  rmSync(folder, { recursive: true, force: true })
})

const image = { kernelVersion: '6', kernel: 'kernel', initrd: 'initrd' } as Image
/** A program in the place of QEMU. */
function qemu(script: string): string {
  writeFileSync(join(folder, 'qemu'), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  return join(folder, 'qemu')
}
const probe = (program: string, timeoutMs = 10_000) => probeKvm(join(folder, 'cache'), MACHINE, image, program, { device: join(folder, 'kvm'), timeoutMs })

test('a kernel that did not boot in time is tried again some minutes later; what QEMU itself answered is kept', async () => {
  vi.useFakeTimers({ toFake: ['Date'] })
  expect(await probe(qemu('exec sleep 600'), 200)).toMatchObject({ works: false })
  expect(await probe(qemu('echo SWARM-PROBE-OK; exec sleep 600'))).toMatchObject({ works: false })
  vi.setSystemTime(Date.now() + 11 * 60_000)
  expect(await probe(qemu('echo SWARM-PROBE-OK; exec sleep 600'))).toMatchObject({ works: true })
  vi.setSystemTime(Date.now() + 365 * 24 * 3_600_000)
  expect(await probe(qemu('exit 1'))).toMatchObject({ works: true })
})

test('a machine on which QEMU says that it cannot is not asked again', async () => {
  vi.useFakeTimers({ toFake: ['Date'] })
  expect(await probe(qemu('exit 1'))).toMatchObject({ works: false })
  vi.setSystemTime(Date.now() + 365 * 24 * 3_600_000)
  expect(await probe(qemu('echo SWARM-PROBE-OK; exec sleep 600'))).toMatchObject({ works: false })
})

test('the QEMU of a probe ends with a runner that is killed', async () => {
  const pidFile = join(folder, 'pid')
  const program = qemu(`echo $$ > ${pidFile}.new; mv ${pidFile}.new ${pidFile}; exec sleep 600`)
  const runner = spawn(process.execPath, ['--input-type=module', '-e', `import { probeKvm } from ${JSON.stringify(new URL('./kvm.ts', import.meta.url).href)}; await probeKvm(${JSON.stringify(join(folder, 'cache'))}, ${JSON.stringify(MACHINE)}, ${JSON.stringify(image)}, ${JSON.stringify(program)}, { device: ${JSON.stringify(join(folder, 'kvm'))}, timeoutMs: 600_000 })`], { stdio: 'inherit' })
  await vi.waitFor(() => { expect(existsSync(pidFile)).toBe(true) }, { timeout: 30_000, interval: 20 })
  const pid = Number(readFileSync(pidFile, 'utf8'))
  try {
    expect(identifyProcess(pid)).not.toBeNull()
    runner.kill('SIGKILL')
    await once(runner, 'close')
    await vi.waitFor(() => { expect(identifyProcess(pid)).toBeNull() }, { timeout: 10_000, interval: 20 })
  } finally {
    if (identifyProcess(pid) !== null) process.kill(pid, 'SIGKILL')
  }
})
