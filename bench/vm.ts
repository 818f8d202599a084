/**
 * How fast microVMs are: from the call of restore to the first command answered, one at a time and many at once.
 *
 *   npm run bench:vm -- [--count N] [--runs R] [--driver qemu] [--json]
 *
 * Beside each figure of the driver stands that of a bare script (vm-bench/bare.mjs: the same VMM, snapshot and number at once,
 * none of our code), measured in turns in the same run. Progress on stderr; a table on stdout, or with --json one object on the
 * last line: {benchmarks: [{name, unit, value, limit, ratio, target, met, runs}]}. A target that is missed is printed as missed.
 * A run fails when a microVM does, when N do not fit into memory, and when anything is left behind.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { probeKvm } from '../packages/runner/drivers/qemu/kvm.ts'
import { selectDriver, type DriverConfig } from '../packages/runner/drivers/select.ts'
import { readMachine } from '../packages/runner/host/machine.ts'
import type { Image } from '../packages/runner/images/image.ts'
import { ensureImage } from '../packages/runner/images/images.ts'
import { findTool } from '../packages/runner/images/tools.ts'
import { jailsFolder } from '../packages/runner/vms/templates.ts'
import { testCache, TEST_SIZE } from '../packages/runner/vms/testing.ts'
import { tableOf, type Benchmark } from './measure.ts'
import { startBare } from './vm-bench/bare.ts'
import { watchLeftovers } from './vm-bench/leftovers.ts'
import { allAtOnce, oneByOne, type Subject } from './vm-bench/suites.ts'

const MiB = 1024 * 1024
/** What a microVM takes of the host beside its share of the template: 85 MiB of PSS with ten at once, less with more; and room for the rest of the host. */
const MEMORY = { eachBytes: 90 * MiB, reserveBytes: 1024 * MiB }

function readOptions() {
  try {
    return parseArgs({ options: { count: { type: 'string', default: '10' }, runs: { type: 'string', default: '15' }, driver: { type: 'string', default: 'auto' }, json: { type: 'boolean', default: false } } }).values
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`)
    process.exit(2)
  }
}
const USAGE = 'usage: npm run bench:vm -- [--count N] [--runs R] [--driver qemu] [--json]; N and R are whole numbers from 1 on\n'
const values = readOptions()
const [count, runs] = [Number(values.count), Number(values.runs)]
if (![count, runs].every((each) => Number.isInteger(each) && each > 0)) {
  process.stderr.write(USAGE)
  process.exit(2)
}
const availableBytes = Number(/^MemAvailable:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]) * 1024
const neededBytes = count * MEMORY.eachBytes + TEST_SIZE.memoryMb * MiB * 2 + MEMORY.reserveBytes
if (availableBytes < neededBytes) {
  process.stderr.write(`${count} microVMs do not fit: they need about ${Math.round(neededBytes / MiB)} MiB of memory, and ${Math.round(availableBytes / MiB)} MiB are free.\n`)
  process.exit(1)
}

const note = (text: string): void => { process.stderr.write(`${text}\n`) }
const cache = testCache()
const state = mkdtempSync(join(tmpdir(), 'swarm-bench-vm-'))
const [load] = loadavg()
const leftovers = watchLeftovers(['disks', 'vms', 'bare'].map((folder) => join(state, folder)), jailsFolder(cache))
const benchmarks: Benchmark[] = []
try {
  await using driver = await selectDriver({ driver: values.driver as DriverConfig['driver'], cache, stateDir: state, warm: 0, onNotice: note })
  if (!('prewarm' in driver)) throw new Error(`the driver ${driver.name} keeps no processes waiting: there is nothing to measure`)
  const image = await ensureImage({ cache })
  const template = await driver.buildTemplate(image, TEST_SIZE, ({ detail }) => { note(detail) })
  await using bare = driver.name === 'qemu' ? startBare(template, join(state, 'bare'), await accelerator(image)) : null
  const subject: Subject = { driver: driver as unknown as Subject['driver'], template, bare, note }
  note(`${driver.name}, ${TEST_SIZE.memoryMb} MiB each; load average before: ${load?.toFixed(2)}`)
  await oneByOne({ ...subject, note: () => {} }, 1) // what is read for the first time is in the page cache from now on
  benchmarks.push(...await oneByOne(subject, runs))
  benchmarks.push(...await allAtOnce(subject, count, 3))
} finally {
  const left = await leftovers()
  for (const each of left) note(`left behind: ${each}`)
  if (left.length > 0) process.exitCode = 1
  rmSync(state, { recursive: true, force: true })
}
process.stdout.write(values.json ? `${JSON.stringify({ benchmarks })}\n` : `${tableOf(benchmarks)}\n`)

/** As the driver has found it out; the answer is in the cache. */
async function accelerator(image: Image): Promise<'tcg' | 'kvm'> {
  const qemu = findTool('qemu-system-x86_64') ?? 'qemu-system-x86_64'
  return (await probeKvm(cache, await readMachine(qemu), image, qemu)).works ? 'kvm' : 'tcg'
}
