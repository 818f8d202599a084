import { spawn } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, openSync, statfsSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import { noteSlot, readPlan } from '../plan.ts'

/* Stands in for Firecracker's jailer (see README.md): its command line, its folders and cgroups, its end once the child has begun. */

const CGROUP2_MAGIC = 0x63677270
const at = process.argv.indexOf('--')
const { values } = parseArgs({
  args: process.argv.slice(2, at < 0 ? undefined : at),
  options: {
    'fake': { type: 'string', default: '' }, 'version': { type: 'boolean' }, 'id': { type: 'string' }, 'exec-file': { type: 'string' }, 'uid': { type: 'string' }, 'gid': { type: 'string' }, 'chroot-base-dir': { type: 'string', default: '/srv/jailer' },
    'new-pid-ns': { type: 'boolean' }, 'cgroup-version': { type: 'string', default: '1' }, 'parent-cgroup': { type: 'string' }, 'cgroup': { type: 'string', multiple: true, default: [] }, 'resource-limit': { type: 'string', multiple: true, default: [] },
  },
})
const plan = readPlan(values.fake)

function refuse(problem: string): never {
  process.stderr.write(`Error: ${problem}\n`)
  process.exit(1)
}

if (values.version === true) {
  process.stdout.write(`Jailer v${plan.jailerVersion ?? plan.version}\n`)
  process.exit(0)
}
noteSlot(values.fake, values.id ?? '')
if (plan.jailerFailure !== undefined) refuse(plan.jailerFailure)
const { id, 'exec-file': execFile } = values
if (id === undefined || !/^[A-Za-z0-9-]{1,64}$/.test(id)) refuse(`InvalidInstanceId(${id})`)
if (execFile === undefined || !basename(execFile).includes('firecracker') || !existsSync(execFile)) refuse(`ExecFileName(${execFile})`)
for (const number of [values.uid, values.gid]) if (number === undefined || !/^\d+$/.test(number)) refuse('the uid or gid is no number')
// Without it the jailer would become Firecracker instead of ending: that is not played here.
if (values['new-pid-ns'] !== true) refuse('this stand-in knows --new-pid-ns alone')

const root = join(values['chroot-base-dir'], basename(execFile), id, 'root')
mkdirSync(root, { recursive: true })
const program = join(root, basename(execFile))
copyFileSync(execFile, program)

const version = statfsSync('/sys/fs/cgroup').type === CGROUP2_MAGIC ? '2' : '1'
if (values.cgroup.length > 0 && values['cgroup-version'] !== version) refuse('CgroupHierarchyMissing("No hierarchy found for this cgroup version.")')
for (const setting of values.cgroup) {
  const [file, value] = setting.split('=')
  if (file === undefined || value === undefined) refuse(`CgroupFormat(${setting})`)
  const group = join('/sys/fs/cgroup', ...(version === '1' ? [file.split('.')[0] ?? ''] : []), values['parent-cgroup'] ?? basename(execFile), id)
  mkdirSync(group, { recursive: true })
  writeFileSync(join(group, file), value)
  writeFileSync(join(group, 'cgroup.procs'), String(process.pid))
}
const limits = values['resource-limit'].map((limit) => {
  const match = /^(fsize|no-file)=(\d+)$/.exec(limit)
  if (match === null) refuse(`ResLimitFormat(${limit})`)
  return match[1] === 'fsize' ? `--fsize=${match[2]}` : `--nofile=${match[2]}`
})

// Its own stderr is inherited, and held open by the child as long as that lives.
const child = spawn('prlimit', [...limits, program, '--id', id, '--start-time-us', '0', '--start-time-cpu-us', '0', '--parent-cpu-time-us', '0', ...(at < 0 ? [] : process.argv.slice(at + 1))], {
  cwd: root, detached: true, env: {}, stdio: ['ignore', openSync('/dev/null', 'w'), 'inherit'],
})
child.once('error', (error) => refuse(`Exec(${error.message})`))
child.once('spawn', () => {
  writeFileSync(join(root, `${basename(execFile)}.pid`), String(child.pid))
  process.exit(0)
})
