import { appendFileSync, existsSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { CHANNEL_VSOCK_PORT } from '@swarm/contract/guest-protocol.ts'
import { serveGuest } from '../guest.ts'
import { readApi } from '../openapi.ts'
import { noteRequest, readPlan, type Fault } from '../plan.ts'
import { createStateMachine, isFatal, operationName } from '../states.ts'

/* Stands in for Firecracker (see README.md). Its working folder is the root of its jail: `/x` of a request is `x` in it. */

const { values } = parseArgs({ options: {
  'fake': { type: 'string', default: '' }, 'version': { type: 'boolean' }, 'id': { type: 'string', default: '' }, 'api-sock': { type: 'string', default: '/run/firecracker.socket' },
  'start-time-us': { type: 'string' }, 'start-time-cpu-us': { type: 'string' }, 'parent-cpu-time-us': { type: 'string' },
} })
const { fake, id } = values
const plan = readPlan(fake)
if (values.version === true) {
  process.stdout.write(`Firecracker v${plan.version}\n\nSupported snapshot data format versions: v8.0.0\n`)
  process.exit(0)
}
const faultAt = (at: string): Fault | undefined => plan.faults.find((fault) => fault.at === at)
const inJail = (path: unknown) => join(process.cwd(), String(path))

/** What a snapshot holds. */
interface Machine { version: string; memoryMb: number; drives: Record<string, { path: string; readOnly: boolean }>; vsock: string | null; balloon: boolean }

const api = readApi(fileURLToPath(new URL('../firecracker.yaml', import.meta.url)))
const order = createStateMachine()
let machine: Machine = { version: plan.version, memoryMb: 128, drives: {}, vsock: null, balloon: false }
const files: { log: string | null; metrics: string | null } = { log: null, metrics: null }
const connections = new Set<Socket>()

const log = (line: string) => { if (files.log !== null) appendFileSync(files.log, `${new Date().toISOString()} [${id}:main] ${line}\n`) }

/** @throws Error in the words of a refusal */
const OPERATIONS: Record<string, (body: Record<string, unknown>) => object | null> = {
  getFirecrackerVersion: () => ({ firecracker_version: plan.version }),
  describeInstance: () => ({ app_name: 'Firecracker', id, vmm_version: plan.version, state: { fresh: 'Not started', configured: 'Not started', running: 'Running', paused: 'Paused' }[order.state] }),
  putLogger: ({ log_path }) => { files.log = writable(log_path); return null },
  putMetrics: ({ metrics_path }) => { files.metrics = writable(metrics_path); return null },
  putSerialDevice: ({ serial_out_path }) => { appendFileSync(writable(serial_out_path), 'SWARM console of a machine that is none\n'); return null },
  putMachineConfiguration: ({ mem_size_mib }) => { machine.memoryMb = Number(mem_size_mib); return null },
  putGuestBootSource: ({ kernel_image_path, initrd_path }) => { for (const path of [kernel_image_path, initrd_path]) readable(path); return null },
  putGuestDriveByID: ({ drive_id, path_on_host, is_read_only }) => { machine.drives[String(drive_id)] = { path: String(path_on_host), readOnly: is_read_only === true }; openDrives(); return null },
  putGuestVsock: ({ uds_path }) => { machine.vsock = String(uds_path); return null },
  putEntropyDevice: () => null,
  putBalloon: () => { machine.balloon = true; return null },
  'createSyncAction:InstanceStart': () => { listenVsock(); return null },
  'createSyncAction:FlushMetrics': () => { if (files.metrics !== null) appendFileSync(files.metrics, `${JSON.stringify({ utc_timestamp_ms: Date.now(), block: { read_bytes: 4_096, write_bytes: 512, rate_limiter_throttled_events: 1 } })}\n`); return null },
  'patchVm:Paused': () => { for (const each of connections) each.pause(); return null },
  'patchVm:Resumed': () => { for (const each of connections) each.resume(); return null },
  createSnapshot: ({ snapshot_path, mem_file_path }) => {
    if (connections.size > 0) throw new Error('a vsock connection is open: it would be broken after a restore')
    writeFileSync(inJail(snapshot_path), JSON.stringify(machine))
    writeFileSync(inJail(mem_file_path), '')
    truncateSync(inJail(mem_file_path), machine.memoryMb * 1024 * 1024)
    return null
  },
  loadSnapshot: ({ snapshot_path, mem_backend }) => {
    machine = JSON.parse(readFileSync(readable(snapshot_path), 'utf8')) as Machine
    const memory = readable((mem_backend as { backend_path: string }).backend_path)
    if (mayWrite(memory)) throw new Error('the memory file may be written by the user of this jail')
    if (statSync(memory).size !== machine.memoryMb * 1024 * 1024) throw new Error('the memory file is of another size')
    if (machine.version !== plan.version) throw new Error(`Invalid snapshot data version: ${machine.version}`)
    openDrives()
    listenVsock()
    return null
  },
  patchGuestDriveByID: ({ drive_id }) => { if (machine.drives[String(drive_id)] === undefined) throw new Error('Invalid drive_id'); return null },
  describeBalloonStats: () => {
    if (!machine.balloon) throw new Error('Balloon device not configured.')
    return { target_pages: 0, actual_pages: 0, target_mib: 0, actual_mib: 0, total_memory: 500_000_000, available_memory: 400_000_000, free_memory: 300_000_000, disk_caches: 50_000_000 }
  },
}

/** The user of the jail is the owner of its root: this one runs as root and looks at the modes instead. */
const user = () => statSync(process.cwd()).uid
const may = (path: string, bit: 0o4 | 0o2) => { const { uid, mode } = statSync(path); return (mode & (uid === user() ? bit << 6 : bit)) !== 0 }
const mayWrite = (path: string) => may(path, 0o2)
function readable(path: unknown): string {
  const file = inJail(path)
  if (!existsSync(file)) throw new Error(`No such file or directory (os error 2) ${String(path)}`)
  if (!may(file, 0o4)) throw new Error(`Permission denied (os error 13) ${String(path)}`)
  return file
}
function writable(path: unknown): string {
  const file = readable(path)
  if (!mayWrite(file)) throw new Error(`Permission denied (os error 13) ${String(path)}`)
  return file
}
function openDrives(): void {
  for (const { path, readOnly } of Object.values(machine.drives)) (readOnly ? readable : writable)(path)
}

function listenVsock(): void {
  if (machine.vsock === null) return
  createServer((socket) => {
    connections.add(socket)
    socket.once('close', () => connections.delete(socket))
    socket.on('error', () => socket.destroy())
    socket.once('data', (bytes: Buffer) => {
      const asked = /^CONNECT (\d+)\n$/.exec(bytes.toString('latin1'))
      if (asked === null || Number(asked[1]) !== CHANNEL_VSOCK_PORT || faultAt('guest')?.how === 'deaf') return void socket.destroy()
      socket.write('OK 1073741824\n')
      serveGuest(socket, faultAt)
    })
  }).listen(`.${machine.vsock}`)
}

async function answer(method: string, path: string, body: unknown): Promise<{ status: number; json: object | null; fatal: boolean }> {
  const { operationId, problems } = api.check(method, path, body)
  const operation = operationId === null ? null : operationName(operationId, body)
  const refusal = operation === null ? null : order.refusal(operation)
  const all = [...problems, ...(refusal === null ? [] : [refusal])]
  noteRequest(fake, { slot: id, method, path, operation, problems: all })
  const fatal = operation !== null && isFatal(operation)
  const refuse = (status: number, problem: string) => {
    log(`[Error] ${problem}`)
    return { status, json: { fault_message: problem }, fatal }
  }
  const fault = faultAt(`${method} ${path}`)
  if (fault?.how === 'slow') await delay(fault.delayMs ?? 1_000)
  if (fault?.how === 'die') {
    log('[Error] it dies by plan')
    process.exit(1)
  }
  if (fault?.how === 'refuse') return refuse(fault.status ?? 400, `refused by plan: ${method} ${path}`)
  if (all.length > 0 || operation === null) return refuse(400, all.join('; '))
  try {
    const json = OPERATIONS[operation]?.((body ?? {}) as Record<string, unknown>) ?? null
    order.done(operation)
    return { status: json === null ? 204 : 200, json, fatal: fault?.how === 'die-after' }
  } catch (error) {
    return refuse(400, error instanceof Error ? error.message : String(error))
  }
}

if (faultAt('start')?.how === 'die') {
  process.stderr.write('it dies before it listens, by plan\n')
  process.exit(1)
}
createHttpServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const text = Buffer.concat(chunks).toString('utf8')
    void answer(request.method ?? '', request.url ?? '', text === '' ? undefined : JSON.parse(text)).then(({ status, json, fatal }) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(json === null ? undefined : JSON.stringify(json))
      if (fatal && (status >= 400 || faultAt(`${request.method} ${request.url}`)?.how === 'die-after')) response.once('finish', () => process.exit(1))
    })
  })
}).listen(`.${values['api-sock']}`) // a whole path might be too long for a socket: in a real jail it is short
