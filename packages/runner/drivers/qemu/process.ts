import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process'
import { closeSync, fchmodSync, fchownSync, fstatSync, openSync, rmSync, statSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { DomainError } from '@swarm/core/errors.ts'
import { identifyProcess, type ProcessIdentity } from '../../host/processes.ts'
import { findTool, type Tool } from '../../images/tools.ts'
import { DESCRIPTORS, qemuArguments, type QemuPlace } from './arguments.ts'
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

/** Most threads of one QEMU (its own, a virtual CPU each, up to 64 for disks), and files open at once (90, most of them of the channel). */
const MOST = { threads: 256, files: 512 }

export interface QemuStart {
  place: QemuPlace
  /** The saved device state, which a clone reads from its descriptor. */
  stateFile: string | null
  /** Of a clone: the template's memory, for a private mapping. */
  memory: number | null
  /** Who it runs as; as this process unless given (only root may say). */
  uid: number | null
  /** An empty folder: where it stands. */
  folder: string
  onSpawn(identity: ProcessIdentity): void
}

/**
 * Starts QEMU, with descriptors instead of paths, and returns when it answers on its control socket.
 * @throws DomainError vm_start_failed with what QEMU said
 */
export async function startQemu({ place, stateFile, memory, uid, folder, onSpawn }: QemuStart): Promise<QemuProcess> {
  const opened: number[] = []
  const open = (path: string, flags: 'r' | 'r+') => {
    const descriptor = openSync(path, flags)
    opened.push(descriptor)
    return descriptor
  }
  /** For a user that is not this one; folders above keep everybody else out. */
  const readable = (path: string) => {
    const descriptor = open(path, 'r')
    const { mode } = fstatSync(descriptor)
    if (uid !== null && (mode & 0o004) === 0) fchmodSync(descriptor, mode | 0o004)
    return descriptor
  }
  let child: ChildProcess
  try {
    const { image, scratchDisk } = place
    const files = { state: stateFile === null ? 'ignore' : open(stateFile, 'r'), kernel: readable(image.kernel), initrd: readable(image.initrd), root: readable(image.root), scratch: open(scratchDisk, 'r+') } as const
    if (uid !== null) fchownSync(files.scratch, uid, uid)
    // Pipes of Node are pairs of sockets: QEMU gets one end of each, connected, and no file of it exists anywhere.
    const stdio: StdioOptions = ['ignore', 'ignore', 'pipe', files.state, 'pipe', 'pipe', files.kernel, files.initrd, files.root, files.scratch, ...(memory === null ? [] : [memory])]
    const [program, ...argv] = confined(place, uid)
    child = spawn(program, argv, { stdio, cwd: folder, env: { PATH: process.env['PATH'] ?? '' } })
  } finally {
    for (const descriptor of opened) closeSync(descriptor)
  }
  let stderr = ''
  child.stderr?.on('data', (chunk: Buffer) => { stderr = (stderr + chunk.toString('utf8')).slice(-STDERR_BYTES) })
  const exited = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    // Not 'close': that waits for the sockets too, and nobody reads the channel of a process that waits.
    child.once('exit', (code, signal) => {
      const tell = () => resolve(`QEMU ended with ${signal ?? `code ${code}`}${stderr === '' ? '' : `: ${stderr.trim()}`}`)
      if (child.stderr === null || child.stderr.closed) tell()
      else child.stderr.once('close', tell)
    })
  })
  const streams: readonly unknown[] = child.stdio
  const [control, channel] = [streams[DESCRIPTORS.control], streams[DESCRIPTORS.channel]] as [Socket, Socket]
  // One end of a microVM that nobody has taken yet must not end this process.
  for (const socket of [control, channel]) socket.on('error', () => socket.destroy())
  const kill = async () => {
    child.kill('SIGKILL')
    await exited
  }
  try {
    const identity = child.pid === undefined ? null : identifyProcess(child.pid)
    if (identity !== null) onSpawn(identity)
    const failed = exited.then((detail): never => { throw new DomainError('vm_start_failed', { problem: detail }) })
    const qmp = await Promise.race([failed, attachQmp(control).catch(async (error: unknown): Promise<never> => {
      // It is closed before the process is over, which says why.
      child.kill('SIGKILL')
      throw new DomainError('vm_start_failed', { problem: await exited }, { cause: error })
    })])
    if (identity === null) throw new DomainError('vm_start_failed', { problem: 'QEMU was not started' })
    return { identity, qmp, channel, exited, kill }
  } catch (error) {
    await kill()
    throw error
  }
}

/** Closes what this process itself has inherited from whoever started it, and goes on as the next program. */
const CLOSE_OTHERS = 'my $last = shift; opendir(my $all, "/proc/self/fd"); for (readdir $all) { syscall(3, $_ + 0) if /^\\d+$/ && $_ > $last && $_ != fileno($all) } exec { $ARGV[0] } @ARGV or die "$ARGV[0]: $!\\n"'

/**
 * The command line with what the process gives up before it becomes QEMU: privileges, core dumps, more files, threads and larger
 * files than it needs. The kernel ends it with the runner, however that ends: nothing runs on until somebody reclaims it.
 */
function confined(place: QemuPlace, uid: number | null): [string, ...string[]] {
  const tool = (name: Tool) => findTool(name) ?? name
  const groups = place.accelerator === 'kvm' ? ['--groups', String(statSync('/dev/kvm').gid)] : ['--clear-groups']
  const user = uid === null ? [] : ['--reuid', String(uid), '--regid', String(uid), ...groups, '--bounding-set=-all', '--inh-caps=-all']
  // A template writes its memory file too.
  const fileBytes = Math.max(place.size.scratchMb, place.size.memoryMb) * 1024 * 1024
  return [
    tool('perl'), '-e', CLOSE_OTHERS, String(place.role === 'clone' ? DESCRIPTORS.memory : DESCRIPTORS.scratch),
    tool('prlimit'), '--core=0:0', `--nofile=${MOST.files}:${MOST.files}`, `--fsize=${fileBytes}:${fileBytes}`, ...(uid === null ? [] : [`--nproc=${MOST.threads}:${MOST.threads}`]), '--',
    tool('setpriv'), ...user, '--no-new-privs', '--pdeathsig', 'KILL', '--',
    tool('qemu-system-x86_64'), ...qemuArguments(place),
  ]
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
