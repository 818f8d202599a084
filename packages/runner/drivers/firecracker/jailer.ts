import { JAIL_FILES } from './requests.ts'
import type { CgroupSupport } from '../../host/cgroup.ts'
import { jailerCgroups } from '../../host/cgroup.ts'
import type { FirecrackerBinaries } from './binaries.ts'

/** Files that a Firecracker may have open: its sockets, disks, KVM and the connections of one channel are about 40. */
const OPEN_FILES = 256

export interface JailerPlace {
  binaries: FirecrackerBinaries
  /** The name of the record, the cgroup and the process: `swarm-slot-…`. */
  name: string
  /** Folder that the jail is made in, `<exec file>/<name>/root` below it. */
  base: string
  /** User and group in one: no two microVMs of a host have the same. */
  uid: number
  cgroups: CgroupSupport
  /** Of the whole process, bytes. */
  memoryBytes: number
  /** The largest file that it may write, bytes. */
  fileBytes: number
}

/**
 * The jailer's command line: a mount namespace with nothing in it but the jail, a pid namespace, a user of its own, its cgroup from
 * the first instruction on, and limits on its files. Firecracker's seccomp filters stay on (they are unless `--no-seccomp`). unshare
 * gives it a network namespace without any network: it has no network device, and whatever broke out of it would find none either.
 */
export function jailerArguments(place: JailerPlace): [string, ...string[]] {
  const { binaries, name, base, uid, cgroups, memoryBytes, fileBytes } = place
  const settings = jailerCgroups(cgroups, memoryBytes)
  return [
    'unshare', '--net', '--', binaries.jailer,
    '--id', name, '--exec-file', binaries.firecracker, '--uid', String(uid), '--gid', String(uid), '--chroot-base-dir', base, '--new-pid-ns',
    ...(settings === null ? [] : ['--cgroup-version', String(settings.version), '--parent-cgroup', settings.parent, ...settings.files.flatMap((each) => ['--cgroup', each])]),
    '--resource-limit', `fsize=${fileBytes}`, '--resource-limit', `no-file=${OPEN_FILES}`,
    '--', '--api-sock', `/${JAIL_FILES.apiSocket}`,
  ]
}
