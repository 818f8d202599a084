// A process that owns microVMs of a Firecracker that is none, to be killed by contract.test.ts: node testing-owner.ts FOLDER
import { join } from 'node:path'
import { fakeImage } from '@swarm/testkit/firecracker/image.ts'
import { createFirecrackerDriver } from './firecracker.ts'

const folder = process.argv[2] ?? ''
const bin = (name: string) => join(folder, 'fake', 'bin', name)
const driver = await createFirecrackerDriver({ cache: join(folder, 'cache'), stateDir: join(folder, 'state'), warm: 1, paths: { firecracker: bin('firecracker'), jailer: bin('jailer') } })
const template = await driver.buildTemplate(fakeImage(join(folder, 'cache', 'image')), { vcpus: 1, memoryMb: 128, scratchMb: 64 })
await driver.prewarm(template, 1)
const vm = await driver.restore(template, { id: 'VM-ORPHAN01', limits: {}, correlationId: 'test' })
process.stdout.write('VM RUNS\n')
await vm.ended
