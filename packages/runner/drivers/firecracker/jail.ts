import { chmodSync, chownSync, closeSync, constants, linkSync, mkdirSync, openSync, statSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { DomainError } from '@swarm/core/errors.ts'
import { lastBytes } from '../../host/last-bytes.ts'
import { takeUser, type UidRange } from '../../host/users.ts'
import { JAIL_FILES } from './requests.ts'

type JailFile = keyof typeof JAIL_FILES

/** The folder that is all of the host's files that one Firecracker sees. */
export interface Jail extends Disposable {
  readonly uid: number
  /** With everything that belongs to it; removed whole. */
  readonly folder: string
  file(name: JailFile): string
  /** Where a socket in it is reached: by the folder's descriptor, since the path of a socket has at most 107 bytes. */
  socket(name: 'apiSocket' | 'vsock'): string
  /** Puts a file that nobody may change in its place, without a copy. */
  link(name: JailFile, from: string): void
  /** Gives a file to the jail's user, made empty if it is not there. */
  give(name: JailFile): void
  /** The last lines of a file that Firecracker writes, for people; '' when it has none. */
  tail(name: 'log' | 'console'): string
}

const TAIL_BYTES = 800

/**
 * Makes the folder of a jail, for a user that nobody else of this host runs as.
 * @param jails folder of all jails of this host
 * @param execFile the file name of the program, which the jailer names a folder by
 * @throws DomainError vm_start_failed when every user of the range is taken
 */
export function makeJail(jails: string, name: string, execFile: string, uids: UidRange): Jail {
  const folder = join(jails, name)
  const root = join(folder, basename(execFile), name, 'root')
  mkdirSync(jails, { recursive: true, mode: 0o700 })
  mkdirSync(root, { recursive: true, mode: 0o700 })
  const user = takeUser(uids)
  const { uid } = user
  chownSync(root, uid, uid)
  const descriptor = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY)
  const file = (each: JailFile) => join(root, JAIL_FILES[each])
  let closed = false
  return {
    uid, folder, file,
    socket: (each) => `/proc/self/fd/${descriptor}/${JAIL_FILES[each]}`,
    link(each, from) {
      try {
        linkSync(from, file(each))
        // The jail's user is none of those that a narrow umask had in mind.
        const { mode } = statSync(from)
        if ((mode & 0o004) === 0) chmodSync(from, mode | 0o444)
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'EXDEV')) throw error
        throw new DomainError('vm_start_failed', { problem: `${from} and ${jails} are on different file systems: SWARM_CACHE must be on one` }, { cause: error })
      }
    },
    give(each) {
      writeFileSync(file(each), '', { flag: 'a' })
      chmodSync(file(each), 0o600)
      chownSync(file(each), uid, uid)
    },
    tail: (each) => lastBytes(file(each), TAIL_BYTES),
    [Symbol.dispose]() {
      if (!closed) closeSync(descriptor)
      closed = true
      user[Symbol.dispose]()
    },
  }
}
