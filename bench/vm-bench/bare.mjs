// The limit that bench/vm.ts measures our driver against: the same QEMU with the same snapshot, restored by a plain script that
// imports nothing of ours. It speaks QMP and the least of the guest's channel (packages/contract/guest-protocol.ts: hello,
// prepare, exec) and does nothing else: no journal, cgroups, sandbox, users, limits, clock or records.
//   node bare.mjs '{"template","model","kernel","initrd","root","memoryMb","vcpus","accelerator","folder"}'
// JSON lines; times in ms. {"do":"spawn","count"} starts processes that load the state and wait → {spawned: [ms]}; {"do":"run"} lets
// all that wait run at once → {runs: [{vmmMs,readyMs,firstMs}], totalMs, pssBytes}; {"do":"run","cold":N} starts N and runs each
// as soon as it can; {"do":"end"} kills all and removes what they had → {ended: [ms], totalMs}.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const machine = JSON.parse(process.argv[2])
const since = (startedAt) => performance.now() - startedAt
const [waiting, running] = [[], []]
let number = 0

/** What the snapshot was made with, as short as it goes. */
function argumentsOf(folder) {
  const { template, model, kernel, initrd, root, memoryMb, vcpus, accelerator } = machine
  return [
    '-machine', `${model},memory-backend=memory`, '-accel', accelerator === 'kvm' ? 'kvm' : 'tcg,tb-size=256', '-cpu', accelerator === 'kvm' ? 'host' : 'max', '-smp', String(vcpus), '-m', `${memoryMb}M`,
    '-object', `memory-backend-file,id=memory,size=${memoryMb}M,mem-path=${join(template, 'memory')},share=off`, '-kernel', kernel, '-initrd', initrd,
    '-append', 'console=ttyS0 reboot=t panic=-1 quiet loglevel=4 random.trust_cpu=off', '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot',
    '-chardev', 'null,id=console', '-serial', 'chardev:console', '-qmp', `unix:${join(folder, 'qmp')},server=off`,
    '-drive', `id=root,file=${root},format=raw,if=none,readonly=on`, '-device', 'virtio-blk-pci,drive=root',
    '-drive', `id=scratch,file=${join(folder, 'scratch')},format=raw,if=none,cache=unsafe,discard=unmap`, '-device', 'virtio-blk-pci,drive=scratch',
    '-device', 'virtio-serial-pci', '-chardev', `socket,id=channel,path=${join(folder, 'channel')},server=off`, '-device', 'virtserialport,chardev=channel,name=swarm.control', '-incoming', 'defer',
  ]
}

async function listen(path) {
  const server = createServer().listen(path)
  const [socket] = await once(server, 'connection')
  server.close()
  return socket
}

function qmpOf(socket) {
  const [answers, loaded] = [[], Promise.withResolvers()]
  createInterface({ input: socket }).on('line', (line) => {
    const { QMP: greeting, event, data, error } = JSON.parse(line)
    if (event === 'MIGRATION' && (data.status === 'completed' || data.status === 'failed')) loaded.resolve(data.status)
    else if (event === undefined && greeting === undefined) answers.shift()(error)
  })
  const command = (execute, args = {}) => new Promise((resolve, reject) => {
    answers.push((error) => (error ? reject(new Error(error.desc)) : resolve()))
    socket.write(`${JSON.stringify({ execute, arguments: args })}\n`)
  })
  return { command, loaded: loaded.promise }
}

/** A process that has loaded the state and stands still. */
async function start() {
  const startedAt = performance.now()
  const folder = join(machine.folder, String(number++))
  mkdirSync(folder, { recursive: true })
  await once(spawn('cp', ['--sparse=always', '--reflink=auto', join(machine.template, 'scratch'), join(folder, 'scratch')]), 'close')
  const sockets = [listen(join(folder, 'qmp')), listen(join(folder, 'channel'))]
  const state = openSync(join(machine.template, 'state'), 'r')
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', 'qemu-system-x86_64', ...argumentsOf(folder)], { stdio: ['ignore', 'ignore', 'inherit', state] })
  closeSync(state)
  const exited = once(child, 'exit')
  const [control, channel] = await Promise.race([Promise.all(sockets), exited.then(() => { throw new Error('QEMU ended') })])
  const qmp = qmpOf(control)
  await qmp.command('qmp_capabilities')
  await qmp.command('migrate-set-capabilities', { capabilities: [{ capability: 'x-ignore-shared', state: true }, { capability: 'events', state: true }] })
  await qmp.command('migrate-incoming', { uri: 'fd:3' })
  if (await qmp.loaded !== 'completed') throw new Error('the state could not be loaded')
  return { child, exited, qmp, channel, folder, loadMs: since(startedAt) }
}

const u32 = (value) => Buffer.from([value >>> 24, value >>> 16, value >>> 8, value])
const frame = (type, stream, payload) => Buffer.concat([Buffer.from([type]), u32(stream), u32(payload.length), payload])

/** Opens a stream, ends our side and gives all its bytes. */
function ask(vm, stream, header) {
  return new Promise((resolve, reject) => {
    const parts = []
    vm.onFrame = (type, id, payload) => {
      if (id === stream && type === 2) parts.push(payload)
      else if (id === stream && type === 3) resolve(Buffer.concat(parts))
      else if (id === stream && type === 4) reject(new Error(`refused: ${payload}`))
    }
    vm.channel.write(Buffer.concat([frame(1, stream, Buffer.from(JSON.stringify(header))), frame(3, stream, Buffer.alloc(0))]))
  })
}

async function run(vm, startedAt) {
  const hello = `SWARM-HELLO ${randomBytes(16).toString('hex')}\n`
  let [seen, framed] = [Buffer.alloc(0), false]
  const greeted = new Promise((resolve) => {
    vm.channel.on('data', (bytes) => {
      seen = Buffer.concat([seen, bytes])
      const at = framed ? 0 : seen.indexOf(hello)
      if (at < 0) return
      if (!framed) seen = seen.subarray(at + hello.length)
      framed = true
      resolve()
      while (seen.length >= 9 && seen.length >= 9 + seen.readUInt32BE(5)) {
        const end = 9 + seen.readUInt32BE(5)
        vm.onFrame?.(seen.readUInt8(0), seen.readUInt32BE(1), seen.subarray(9, end))
        seen = seen.subarray(end)
      }
    })
  })
  await vm.qmp.command('cont')
  const vmmMs = since(startedAt)
  vm.channel.write(hello)
  await greeted
  await ask(vm, 2, { kind: 'prepare', nowMs: Date.now(), entropy: randomBytes(32).toString('base64'), machineId: randomBytes(16).toString('hex'), hostname: 'bare', mountScratch: true })
  const readyMs = since(startedAt)
  const output = await ask(vm, 4, { kind: 'exec', argv: ['/bin/echo', 'ok'], cwd: '/work', env: {} })
  if (!output.includes('ok\n')) throw new Error('no answer')
  return { vmmMs, readyMs, firstMs: since(startedAt) }
}
const deeds = {
  async spawn({ count }) {
    waiting.push(...await Promise.all(Array.from({ length: count }, start)))
    return { spawned: waiting.map(({ loadMs }) => loadMs) }
  },
  async run({ cold }) {
    const startedAt = performance.now()
    const sources = cold === undefined ? waiting.splice(0) : Array.from({ length: cold }, start)
    const runs = await Promise.all(sources.map(async (source) => {
      const vm = await source
      running.push(vm)
      return run(vm, startedAt)
    }))
    const pssBytes = running.map(({ child }) => Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${child.pid}/smaps_rollup`, 'utf8'))[1]) * 1024)
    return { runs, totalMs: Math.max(...runs.map(({ firstMs }) => firstMs)), pssBytes }
  },
  async end() {
    const startedAt = performance.now()
    const ended = await Promise.all([...waiting.splice(0), ...running.splice(0)].map(async ({ child, exited, folder }) => {
      child.kill('SIGKILL')
      await exited
      rmSync(folder, { recursive: true })
      return since(startedAt)
    }))
    return { ended, totalMs: since(startedAt) }
  },
}
for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line)
  process.stdout.write(`${JSON.stringify(await deeds[asked.do](asked))}\n`)
}
