import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, openSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { DomainError } from '@swarm/core/errors.ts'
import { identifyProcess, type ProcessIdentity } from '../../host/processes.ts'
import { findTool } from '../../images/tools.ts'
import { qemuArguments, type QemuPlace } from './arguments.ts'
import { attachQmp, type Qmp } from './qmp.ts'

export interface QemuProcess {
  readonly identity: ProcessIdentity
  readonly qmp: Qmp
  readonly channel: Socket
  /** Resolves when the process is over, however that came; the words are for people. */
  readonly exited: Promise<string>
  /** SIGKILL; returns when it is over. */
  kill(): Promise<void>
}

/** Kept of what QEMU says on stderr, to explain its end. */
const STDERR_BYTES = 4_096

/**
 * Starts QEMU and returns when it has connected to us with its control socket and the guest's channel. QEMU is the client
 * of both: so nothing has to be polled for.
 * @param stateFile the saved device state, which a clone reads from descriptor 3
 * @throws DomainError vm_start_failed with what QEMU said
 */
export async function startQemu(place: QemuPlace, stateFile: string | null, onSpawn: (identity: ProcessIdentity) => void): Promise<QemuProcess> {
  const [qmpSocket, channelSocket] = [acceptOne(place.qmpSocket), acceptOne(place.channelSocket)]
  const state = stateFile === null ? null : openSync(stateFile, 'r')
  let child: ChildProcess
  try {
    await Promise.all([qmpSocket.listening, channelSocket.listening])
    // The kernel ends QEMU with the runner, however that ends: nothing runs on until somebody reclaims it.
    const argv = ['--pdeathsig', 'KILL', '--', findTool('qemu-system-x86_64') ?? 'qemu-system-x86_64', ...qemuArguments(place)]
    child = spawn(findTool('setpriv') ?? 'setpriv', argv, { stdio: ['ignore', 'ignore', 'pipe', ...(state === null ? [] : [state])], env: { PATH: process.env['PATH'] ?? '' } })
  } finally {
    if (state !== null) closeSync(state)
  }
  let stderr = ''
  child.stderr?.on('data', (chunk: Buffer) => { stderr = (stderr + chunk.toString('utf8')).slice(-STDERR_BYTES) })
  const exited = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('close', (code, signal) => resolve(`QEMU ended with ${signal ?? `code ${code}`}${stderr === '' ? '' : `: ${stderr.trim()}`}`))
  })
  const kill = async () => {
    child.kill('SIGKILL')
    await exited
  }
  try {
    const identity = child.pid === undefined ? null : identifyProcess(child.pid)
    if (identity !== null) onSpawn(identity)
    const failed = exited.then((detail): never => { throw new DomainError('vm_start_failed', { problem: detail }) })
    const [control, channel] = await Promise.race([Promise.all([qmpSocket.connection, channelSocket.connection]), failed])
    const qmp = await Promise.race([attachQmp(control), failed])
    if (identity === null) throw new DomainError('vm_start_failed', { problem: 'QEMU was not started' })
    return { identity, qmp, channel, exited, kill }
  } catch (error) {
    await kill()
    throw error
  } finally {
    qmpSocket.close()
    channelSocket.close()
  }
}

/** A unix socket that takes one connection. */
export function acceptOne(path: string): { listening: Promise<void>; connection: Promise<Socket>; close(): void } {
  rmSync(path, { force: true })
  const server = createServer()
  const connection = new Promise<Socket>((resolve) => server.once('connection', resolve))
  const listening = new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, resolve)
  })
  return { listening, connection, close: () => void server.close() }
}
