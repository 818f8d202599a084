import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { offeredDrivers, selectDriver } from './select.ts'

let folder: string
beforeEach(() => { folder = mkdtempSync(join(tmpdir(), 'swarm-select-test-')) })
afterEach(() => rmSync(folder, { recursive: true, force: true }))

test('what Firecracker lacks here is named, each with what to do', () => {
  const paths = { firecracker: join(folder, 'firecracker'), jailer: join(folder, 'jailer') }
  const [offer] = offeredDrivers(paths)
  expect(offer).toMatchObject({ name: 'firecracker', usable: false })
  expect(offer?.detail).toContain(`SWARM_VM_FIRECRACKER is ${paths.firecracker}`)
  expect(offer?.detail).toContain(`SWARM_VM_JAILER is ${paths.jailer}`)
})

test('Firecracker that was asked for and cannot be used is refused with the reasons, and is never replaced by another driver', async () => {
  await expect(selectDriver({ driver: 'firecracker', cache: folder, stateDir: join(folder, 'state'), firecracker: { paths: { firecracker: join(folder, 'none') } } }))
    .rejects.toMatchObject({ code: 'driver_unavailable', details: { driver: 'firecracker', problem: expect.stringContaining('SWARM_VM_FIRECRACKER') } })
})

test('without Firecracker the automatic choice is QEMU, and says why where somebody has named a Firecracker', async () => {
  const notices: string[] = []
  await using driver = await selectDriver({ driver: 'auto', cache: folder, stateDir: join(folder, 'state'), warm: 0, firecracker: { paths: { firecracker: join(folder, 'none') } }, onNotice: (notice) => notices.push(notice) })
  expect(driver.name).toBe('qemu')
  expect(notices).toContainEqual(expect.stringContaining('Firecracker is not used: SWARM_VM_FIRECRACKER is'))
})
