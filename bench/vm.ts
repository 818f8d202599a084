// Times of microVMs, medians and worst, as one line of JSON on stdout:   node bench/vm.ts [--runs 7] [--parallel 10]
//
// restoreToFirstExec: our driver, from restore() (processes already waiting) to the answer of the first exec.
// bareScript: a plain script of QMP and the guest protocol on the same template: load, cont, hello, prepare, exec; without
// journal, cgroups, limits or records. Both begin with a process that waits and has loaded its state.
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { openVmJournal } from '../packages/runner/vms/journal.ts'
import { connectGuest } from '../packages/runner/vms/guest-connection.ts'
import { startSlot, type Slot } from '../packages/runner/drivers/qemu/slot.ts'
import { volatileFolder } from '../packages/runner/vms/templates.ts'
import { openTestDriver, testCache, TEST_SIZE } from '../packages/runner/vms/testing.ts'

const { values } = parseArgs({ options: { runs: { type: 'string', default: '7' }, parallel: { type: 'string', default: '10' } } })
const [runs, parallel] = [Number(values.runs), Number(values.parallel)]
const note = (text: string) => process.stderr.write(`${text}\n`)
const median = (figures: number[]) => Math.round([...figures].sort((a, b) => a - b)[Math.floor(figures.length / 2)] ?? Number.NaN)
const worst = (figures: number[]) => Math.round(Math.max(...figures))
const elapsedMs = async (work: () => Promise<unknown>) => {
  const startedAt = performance.now()
  await work()
  return performance.now() - startedAt
}
const ECHO = { argv: ['/bin/echo', 'ok'] }

/** What else the machine did: the figures mean little above the number of cores. */
const loadBefore = loadavg()[0]
await using host = await openTestDriver({ warm: 0 })
const { driver, template } = host
const bareState = mkdtempSync(join(tmpdir(), 'swarm-bench-'))
const places = { journal: openVmJournal(join(bareState, 'vms')), volatile: volatileFolder(testCache()), disks: join(bareState, 'disks'), accelerator: 'tcg' as const }

async function bare(slot: Slot): Promise<void> {
  const guest = connectGuest('bare', slot.qemu.channel)
  await slot.qemu.qmp.command('cont')
  await guest.hello()
  await guest.prepare({ entropy: randomBytes(32).toString('base64'), machineId: randomBytes(16).toString('hex'), hostname: 'bare', mountScratch: true })
  if ((await guest.exec(ECHO)).stdout !== 'ok\n') throw new Error('no answer')
}
async function ours(id: string): Promise<AsyncDisposable> {
  const vm = await driver.restore(template, { id, limits: {}, correlationId: 'bench' })
  if ((await vm.exec(ECHO)).stdout !== 'ok\n') throw new Error('no answer')
  return vm
}

const figures = { driver: [] as number[], bare: [] as number[], cold: [] as number[], exec: [] as number[], node: [] as number[], git: [] as number[] }
for (let run = 0; run < runs; run++) {
  // In turns, so that a busy neighbour disturbs both alike.
  const slot = await startSlot(template, places)
  figures.bare.push(await elapsedMs(() => bare(slot)))
  await slot.release([])
  const vms: AsyncDisposable[] = []
  await driver.prewarm(template, 1)
  figures.driver.push(await elapsedMs(async () => { vms.push(await ours(`VM-BENCH${run}`)) }))
  for (const each of vms.splice(0)) await each[Symbol.asyncDispose]()
  figures.cold.push(await elapsedMs(async () => { vms.push(await ours(`VM-COLD${run}`)) }))
  const vm = await driver.restore(template, { id: `VM-WARM${run}`, limits: {}, correlationId: 'bench' })
  await vm.exec(ECHO)
  figures.exec.push(await elapsedMs(() => vm.exec(ECHO)))
  figures.git.push(await elapsedMs(() => vm.exec({ argv: ['git', '--version'] })))
  figures.node.push(await elapsedMs(() => vm.exec({ argv: ['node', '-e', '1'] })))
  for (const each of [...vms, vm]) await each[Symbol.asyncDispose]()
  note(`run ${run + 1} of ${runs}`)
}

const many = { driver: [] as number[], bare: [] as number[] }
for (let round = 0; round < 3; round++) {
  const slots = await Promise.all(Array.from({ length: parallel }, () => startSlot(template, places)))
  many.bare.push(await elapsedMs(() => Promise.all(slots.map(bare))))
  await Promise.all(slots.map((slot) => slot.release([])))
  await driver.prewarm(template, parallel)
  const vms: AsyncDisposable[] = []
  many.driver.push(await elapsedMs(async () => { vms.push(...await Promise.all(Array.from({ length: parallel }, (_, index) => ours(`VM-PARALLEL${index}`)))) }))
  await Promise.all(vms.map((vm) => vm[Symbol.asyncDispose]()))
  note(`${parallel} at once, round ${round + 1} of 3`)
}
rmSync(bareState, { recursive: true, force: true })

const [driverMs, bareMs, parallelMs, parallelBareMs] = [figures.driver, figures.bare, many.driver, many.bare].map(median) as [number, number, number, number]
process.stdout.write(`${JSON.stringify({
  size: TEST_SIZE, runs, loadBefore, restoreToFirstExecMs: driverMs, bareScriptMs: bareMs, ratio: driverMs / bareMs, limitRatio: 1.2,
  withoutWaitingProcessMs: median(figures.cold), laterExecMs: median(figures.exec), gitVersionMs: median(figures.git), nodeStartMs: median(figures.node),
  worst: {
    restoreToFirstExecMs: worst(figures.driver), bareScriptMs: worst(figures.bare), withoutWaitingProcessMs: worst(figures.cold), laterExecMs: worst(figures.exec),
    gitVersionMs: worst(figures.git), nodeStartMs: worst(figures.node), parallelToLastExecMs: worst(many.driver), parallelBareMs: worst(many.bare),
  },
  parallel, parallelToLastExecMs: parallelMs, parallelBareMs, parallelRatio: parallelMs / parallelBareMs, parallelLimitRatio: 1.25,
})}\n`)
