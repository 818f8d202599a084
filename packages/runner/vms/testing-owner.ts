// A process that owns microVMs, to be killed by reclaim.vm.test.ts: node testing-owner.ts STATE_DIR
import { createQemuDriver } from '../drivers/qemu/qemu.ts'
import { ensureImage } from '../images/images.ts'
import { TEST_SIZE, testCache } from './testing.ts'

const driver = await createQemuDriver({ cache: testCache(), stateDir: process.argv[2] ?? '', warm: 1 })
const template = await driver.buildTemplate(await ensureImage({ cache: testCache() }), TEST_SIZE)
const vm = await driver.restore(template, { id: 'VM-ORPHAN01', limits: { cpuShare: 1 }, correlationId: 'test' })
process.stdout.write('VM RUNS\n')
await vm.ended
