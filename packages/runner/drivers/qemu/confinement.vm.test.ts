import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openVmJournal } from '../../vms/journal.ts'
import { openTestDriver } from '../../vms/testing.ts'
import type { Vm } from '../driver.ts'
import { DESCRIPTORS } from './arguments.ts'

/*
 * A guest that has taken over its QEMU: what that process may do on the host then. Seen from its own credentials, with the
 * descriptors that it has.
 */

const run = promisify(execFile)
const isRoot = process.getuid?.() === 0

describe.skipIf(!isRoot)('a QEMU that its guest has taken over (needs root: users of their own)', () => {
  let host: Awaited<ReturnType<typeof openTestDriver>>
  let home: string
  let vms: Vm[]
  let pids: [number, number]
  beforeAll(async () => {
    host = await openTestDriver({ warm: 0 })
    vms = [await host.driver.restore(host.template, { id: 'VM-TAKEN001', limits: {}, correlationId: 'test' }), await host.driver.restore(host.template, { id: 'VM-OTHER001', limits: {}, correlationId: 'test' })]
    const records = openVmJournal(join(host.stateDir, 'vms')).records()
    pids = vms.map(({ id }) => records.find(({ vmId }) => vmId === id)?.process?.pid ?? 0) as [number, number]
    home = mkdtempSync(join(tmpdir(), 'swarm-confinement-test-')) // 0700, like the home folder of a server
    for (const name of ['swarm.sqlite', 'admin-token']) writeFileSync(join(home, name), 'secret')
  })
  afterAll(async () => {
    for (const vm of vms ?? []) await vm[Symbol.asyncDispose]()
    await host[Symbol.asyncDispose]()
    rmSync(home, { recursive: true, force: true })
  })
  const status = (pid: number, name: string) => new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]?.trim()
  const uidOf = (pid: number) => Number(status(pid, 'Uid')?.split('\t')[0])
  /** As the user of that QEMU, like a program that it has become. */
  async function asQemu(pid: number, script: string, ...args: string[]): Promise<string> {
    const uid = String(uidOf(pid))
    return (await run('setpriv', ['--reuid', uid, '--regid', uid, '--clear-groups', '--no-new-privs', '--bounding-set=-all', '--', '/bin/sh', '-c', script, 'sh', ...args], { cwd: '/' })).stdout
  }

  test('is a user that no other process is, without groups, capabilities or new privileges, under seccomp', () => {
    for (const pid of pids) {
      const uid = uidOf(pid)
      expect(uid).toBeGreaterThanOrEqual(1_900_000_000)
      expect([status(pid, 'Uid'), status(pid, 'Gid')]).toEqual([Array(4).fill(uid).join('\t'), Array(4).fill(uid).join('\t')])
      expect(status(pid, 'Groups')).toBe('')
      for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) expect(status(pid, set)).toBe('0000000000000000')
      expect([status(pid, 'NoNewPrivs'), status(pid, 'Seccomp')]).toEqual(['1', '2'])
      const others = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== pid && statSync(`/proc/${name}`, { throwIfNoEntry: false })?.uid === uid)
      expect(others).toEqual([])
    }
  })

  test('stands in an empty folder and has nothing open but what it was given', () => {
    const [pid] = pids
    expect(readdirSync(`/proc/${pid}/cwd`)).toEqual([])
    const open = readdirSync(`/proc/${pid}/fd`).map((name) => [Number(name), readlinkSync(`/proc/${pid}/fd/${name}`)] as const)
    const files = new Set(open.map(([, link]) => link).filter((link) => link.startsWith('/')).map((link) => link.replace(/^.*\/(images|disks)\/.*\//, '$1/')))
    expect([...files].toSorted()).toEqual(['/dev/null', '/memfd:swarm-template (deleted)', 'disks/scratch', 'images/initrd', 'images/root.erofs', 'images/vmlinuz'])
    // stderr, control, channel; what else it has are events of its own.
    expect(open.filter(([, link]) => link.startsWith('socket:')).map(([fd]) => fd).toSorted((a, b) => a - b)).toEqual([2, DESCRIPTORS.control, DESCRIPTORS.channel])
    expect(open.filter(([, link]) => link.startsWith('pipe:'))).toEqual([])
    expect(Object.keys(Object.fromEntries(readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').filter((each) => each !== '').map((each) => each.split('='))))).toEqual(['PATH'])
  })

  test('has limits on files, threads, file sizes and core dumps', () => {
    const limits = readFileSync(`/proc/${pids[0]}/limits`, 'utf8')
    expect(limits).toMatch(/Max core file size\s+0\s+0 /)
    expect(limits).toMatch(/Max processes\s+256\s+256 /)
    expect(limits).toMatch(/Max open files\s+512\s+512 /)
    expect(limits).toMatch(new RegExp(`Max file size\\s+${1024 ** 3}\\s+${1024 ** 3} `))
  })

  test('cannot open state, database, tokens, template, image cache, or disk and memory of another microVM', async () => {
    const [taken, other] = pids
    const disks = readdirSync(join(host.stateDir, 'disks')).map((name) => join(host.stateDir, 'disks', name, 'scratch'))
    expect(disks).toHaveLength(2)
    const places = [
      host.stateDir, join(host.stateDir, 'vms'), ...disks, join(home, 'swarm.sqlite'), join(home, 'admin-token'), host.template.directory, join(host.template.directory, 'memory'), join(host.template.directory, 'state'),
      `/proc/${process.pid}/environ`, `/proc/${process.pid}/mem`, `/proc/${process.pid}/fd/0`, `/proc/${other}/mem`, `/proc/${other}/environ`, `/proc/${other}/fd/${DESCRIPTORS.scratch}`, `/proc/${other}/fd/${DESCRIPTORS.channel}`, `/proc/${other}/root/etc/shadow`, '/etc/shadow', '/dev/kvm', '/dev/mem',
    ]
    expect(await asQemu(taken, 'for place; do { if [ -d "$place" ]; then ls "$place"; else head -c 1 "$place"; fi; } > /dev/null 2>&1 && echo "READ $place"; ( : >> "$place" ) 2>/dev/null && echo "WROTE $place"; done; echo done', ...places)).toBe('done\n')
  })

  test('cannot signal the runner or another microVM', async () => {
    expect(await asQemu(pids[0], 'for pid; do kill -0 "$pid" 2>/dev/null && echo "REACHED $pid"; done; echo done', String(process.pid), String(pids[1]), '1')).toBe('done\n')
  })

  test('cannot change the memory of the template, which every clone begins with, though it has it open', async () => {
    const script = `my ($path) = @ARGV; open(my $f, '+<:raw', $path) or die "open: $!"; print defined(syswrite($f, 'x' x 4096)) ? "WROTE\\n" : "$!\\n"; print truncate($f, 0) ? "CUT\\n" : "$!\\n";
      my $m = syscall(9, 0, 4096, 3, 1, fileno($f), 0); print $m == -1 ? "$!\\n" : "MAPPED\\n"; print fcntl($f, 1033, 0) ? "SEALED\\n" : "$!\\n"; print fcntl($f, 1034, 0)`
    // The same file as it has: opened for reading and writing, by its own user.
    expect(await asQemu(pids[0], 'exec perl -e "$1" "$2"', script, `/proc/${pids[0]}/fd/${DESCRIPTORS.memory}`)).toBe(`${'Operation not permitted\n'.repeat(4)}15`)
  })
})
