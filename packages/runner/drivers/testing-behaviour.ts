import { createHash } from 'node:crypto'
import { existsSync, rmSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isAlive, processesMarked } from '../host/processes.ts'
import { openVmJournal } from '../vms/journal.ts'
import type { VmmSlot } from '../vms/slot.ts'
import type { ExecOptions, Template, Vm, VmDriver, VmLimits } from './driver.ts'

/** A driver with a state folder of its own, on an image and a template that tests share. */
export interface DriverUnderTest extends AsyncDisposable {
  readonly driver: VmDriver
  readonly template: Template
  readonly stateDir: string
  /** A process that has loaded the template, of which the driver knows nothing. */
  startBareSlot(): Promise<VmmSlot>
}

/**
 * What every driver that isolates does, tried from outside and from inside of its microVMs: one suite for all.
 * @param open warm: how many processes wait
 * @param traits `killed`: what the end of a VM says whose VMM was killed; `sysrq`: the letter by which a guest ends its VMM
 */
export function behavesLikeADriver(open: (options?: { warm?: number }) => Promise<DriverUnderTest>, traits: { killed: string; sysrq: 'o' | 'b' }): void {
  let host: DriverUnderTest
  let count = 0
  const restore = (limits: VmLimits = {}) => host.driver.restore(host.template, { id: `VM-TEST${String(++count).padStart(4, '0')}`, limits, correlationId: 'test' })
  const sh = (vm: Vm, script: string, options: Partial<ExecOptions> = {}) => vm.exec({ argv: ['/bin/sh', '-c', script], ...options })

  beforeAll(async () => { host = await open() })
  afterAll(() => host?.[Symbol.asyncDispose]())

  describe('a restored microVM', () => {
    let vm: Vm
    beforeAll(async () => { vm = await restore() })
    afterAll(() => vm[Symbol.asyncDispose]())

    test('answers an exec with output, exit code, stdin, environment and working folder', async () => {
      const result = await vm.exec({ argv: ['/bin/sh', '-c', 'cat; pwd; echo "$GREETING"; echo oops >&2; exit 7'], stdin: 'from the host\n', env: { GREETING: 'hello' }, cwd: '/work/repository' })
      expect(result).toMatchObject({ code: 7, signal: null, timedOut: false, truncated: false, stdout: 'from the host\n/work/repository\nhello\n', stderr: 'oops\n' })
    })

    test('says like a shell that a program does not exist', async () => {
      expect(await vm.exec({ argv: ['/no/such/program'] })).toMatchObject({ code: 127, stderr: expect.stringContaining('/no/such/program') })
    })

    test('kills the whole process group at the timeout, and says so', async () => {
      const result = await sh(vm, 'echo begun; sleep 98765 & sleep 98765', { timeoutMs: 1_500 })
      expect(result).toMatchObject({ code: null, signal: 'SIGKILL', timedOut: true, stdout: 'begun\n' })
      expect((await sh(vm, 'ps ax | grep -c "[s]leep 98765"')).stdout.trim()).toBe('0')
    })

    test('kills the process group when the host cancels', async () => {
      const cancel = new AbortController()
      const running = sh(vm, 'echo begun; sleep 87654', { signal: cancel.signal, onStdout: () => cancel.abort(new Error('not needed any more')) })
      await expect(running).rejects.toThrow('not needed any more')
      expect((await sh(vm, 'ps ax | grep -c "[s]leep 87654"')).stdout.trim()).toBe('0')
    })

    test('has no network device but lo, and no route off itself', async () => {
      const { stdout } = await sh(vm, 'ls /sys/class/net; cat /proc/net/route | tail -n +2 | wc -l; curl -s -m 5 --noproxy "*" http://192.0.2.1/ || echo unreachable')
      expect(stdout).toBe('lo\n0\nunreachable\n')
    })

    test('has writable /work, /tmp and home on the scratch disk, names and a resolvable host name', async () => {
      const { stdout } = await sh(vm, 'for f in /work /tmp /root; do echo x > $f/probe && df --output=source $f | tail -1; done; hostname; grep -c "localhost vm-test" /etc/hosts')
      expect(stdout).toMatch(/^\/dev\/vdb\n\/dev\/vdb\n\/dev\/vdb\nvm-test\d+\n1\n$/)
    })

    test('has the clock of the host', async () => {
      const before = Date.now()
      const { stdout } = await sh(vm, 'date +%s%3N')
      // The bounds are those of the exec itself, and 50 ms for the set-up.
      expect(Number(stdout)).toBeGreaterThan(before - 50)
      expect(Number(stdout)).toBeLessThan(Date.now() + 50)
    })

    test('caps a flood of output in the guest and says so', async () => {
      const result = await sh(vm, 'yes | head -c 30000000; echo end >&2', { maxOutputBytes: 100_000 })
      expect(result).toMatchObject({ code: 0, truncated: true })
      expect(result.stdout).toHaveLength(100_000)
    })

    test('carries 20 MB in and out unchanged while a slow reader holds it back', async () => {
      const bytes = Buffer.alloc(20_000_000, 'swarm ')
      const digest = createHash('sha256')
      let length = 0
      const server = createServer((request, response: ServerResponse) => {
        request.on('data', (chunk: Buffer) => {
          length += chunk.length
          digest.update(chunk)
          request.pause()
          setImmediate(() => request.resume())
        })
        request.on('end', () => response.end(bytes))
      })
      vm.onForward((stream) => void server.emit('connection', stream))
      const { stdout, stderr, code } = await sh(vm, 'head -c 20000000 /dev/zero > /work/zero; curl -sS --fail -T /work/zero http://upload.example/ -o /work/answer; sha256sum < /work/answer')
      server.closeAllConnections()
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      expect(length).toBe(20_000_000)
      expect(digest.digest('hex')).toBe(createHash('sha256').update(Buffer.alloc(20_000_000)).digest('hex'))
      expect(stdout.slice(0, 64)).toBe(createHash('sha256').update(bytes).digest('hex'))
      expect((await vm.stats()).egressBytes).toBeGreaterThan(20_000_000)
    })

    test.each([
      ['curl', ['curl', '-sS', 'http://host.example/curl']],
      ['fetch of Node', ['node', '-e', 'fetch("http://host.example/fetch").then((r) => r.text()).then(console.log)']],
      ['node:http as a module', ['node', '--input-type=module', '-e', 'import { get } from "node:http"; get("http://host.example/http", (r) => r.pipe(process.stdout))']],
    ])('sends requests of %s through the forward to an HTTP server of the host', async (_title, argv) => {
      const seen: string[] = []
      const server = createServer((request, response) => {
        seen.push(`${request.method} ${request.url}`)
        response.end('from the host')
      })
      // Node's fetch asks for a tunnel even for plain http; the others send the whole URL.
      server.on('connect', (request, socket: Duplex) => {
        expect(request.url).toBe('host.example:80')
        socket.write('HTTP/1.1 200 OK\r\n\r\n')
        server.emit('connection', socket)
      })
      vm.onForward((stream) => void server.emit('connection', stream))
      const result = await vm.exec({ argv })
      server.closeAllConnections()
      expect(result).toMatchObject({ code: 0, stdout: expect.stringContaining('from the host') })
      expect(seen).toEqual([expect.stringMatching(/^GET (http:\/\/host\.example)?\/(curl|fetch|http)$/)])
    })

    test('stands still while it is paused and goes on after', async () => {
      let ticks = 0
      let next = Promise.withResolvers<void>()
      const cancel = new AbortController()
      // It computes without end, so that a VM that runs is seen to use CPU.
      const running = sh(vm, 'while :; do i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; echo tick; done', {
        signal: cancel.signal,
        onStdout: () => {
          ticks += 1
          next.resolve()
        },
      })
      running.catch(() => {}) // it is cancelled below
      await next.promise
      const observe = async () => {
        const before = { ticks, cpuMs: (await vm.stats()).cpuMs }
        await delay(500)
        return { ticks: ticks - before.ticks, cpuMs: (await vm.stats()).cpuMs - before.cpuMs }
      }
      await vm.pause()
      let answered = false
      const asked = sh(vm, 'echo back').finally(() => { answered = true })
      await observe() // what was on its way arrives
      const paused = await observe()
      expect(paused.ticks).toBe(0)
      expect(paused.cpuMs).toBeLessThan(50)
      expect(answered).toBe(false)
      next = Promise.withResolvers()
      await vm.resume()
      await next.promise
      expect(await asked).toMatchObject({ stdout: 'back\n' })
      expect((await observe()).cpuMs).toBeGreaterThan(paused.cpuMs)
      cancel.abort(new Error('seen enough'))
      await expect(running).rejects.toThrow('seen enough')
    })
  })

  // The template was reseeded just before it was saved (by its warm-up), so the kernel does not reseed again by itself for seconds:
  // without the ioctls in the clone, both draw the same.
  test('two clones of one template draw different randomness, machine ids and host names', async () => {
    await using first = await restore()
    await using second = await restore()
    const draw = async (vm: Vm) => (await sh(vm, 'head -c 16 /dev/urandom | od -An -tx1; cat /proc/sys/kernel/random/uuid; cat /etc/machine-id; hostname; node -p "Math.random() + crypto.randomUUID()"')).stdout.trim().split('\n')
    const [a, b] = [await draw(first), await draw(second)]
    expect(a).toHaveLength(5)
    for (const [index, value] of a.entries()) expect(value).not.toBe(b[index])
  })

  test('nothing runs in a clone before it has acknowledged its reseed', async () => {
    const slot = await host.startBareSlot()
    try {
      await slot.wake()
      const guest = await slot.connect('VM-BARE0001')
      await expect(guest.exec({ argv: ['true'] })).rejects.toMatchObject({ code: 'vm_refused' })
      const header = { machineId: '0'.repeat(32), hostname: 'bare', mountScratch: true }
      await expect(guest.prepare({ ...header, entropy: Buffer.alloc(31).toString('base64') })).rejects.toThrow(/31 bytes/)
      await expect(guest.exec({ argv: ['true'] })).rejects.toMatchObject({ code: 'vm_refused' })
      expect((await guest.prepare({ ...header, entropy: Buffer.alloc(32, 7).toString('base64') })).done).toContain('reseed')
      expect(await guest.exec({ argv: ['true'] })).toMatchObject({ code: 0 })
    } finally {
      await slot.release([])
    }
  })

  test('a disk that one has saved is what another one starts with', async () => {
    await using first = await restore()
    await sh(first, 'echo kept > /work/kept; sync; echo u > /proc/sysrq-trigger; until grep -q " /work ext4 ro" /proc/mounts; do sleep 0.05; done')
    const path = join(host.stateDir, 'saved')
    await first.saveScratch?.(path)
    await using second = await host.driver.restore(host.template, { id: 'VM-FROMDISK', limits: {}, correlationId: 'test', scratch: path })
    expect((await sh(second, 'cat /work/kept; echo more > /work/more; cat /work/more')).stdout).toBe('kept\nmore\n')
    rmSync(path)
  })

  test('what one clone writes is not seen by another', async () => {
    await using first = await restore()
    await sh(first, 'echo secret > /work/file; echo secret > /etc/file; mkdir -p /opt/left')
    await using second = await restore()
    expect((await sh(second, 'ls /work/file /etc/file /opt/left')).stdout).toBe('')
  })

  test('a VMM that is killed is reported as crashed, and so is what ran in it', async () => {
    const vm = await restore()
    const pid = openVmJournal(join(host.stateDir, 'vms')).records().find(({ vmId }) => vmId === vm.id)?.process?.pid
    const running = sh(vm, 'echo begun; sleep 1000', { onStdout: () => process.kill(pid ?? 0, 'SIGKILL') })
    await expect(running).rejects.toMatchObject({ code: 'vm_ended', details: { reason: 'crashed' } })
    expect(await vm.ended).toMatchObject({ reason: 'crashed', detail: expect.stringContaining(traits.killed) })
    await expect(sh(vm, 'true')).rejects.toMatchObject({ code: 'vm_ended' })
  })

  test('a guest that ends itself is reported as crashed, never as a clean end', async () => {
    const vm = await restore()
    await expect(sh(vm, `echo ${traits.sysrq} > /proc/sysrq-trigger; sleep 100`)).rejects.toMatchObject({ code: 'vm_ended' })
    expect((await vm.ended).reason).toBe('crashed')
  })

  test('a guest that breaks the protocol loses its VM, and that is named as the reason', async () => {
    const vm = await restore()
    // The port, or the pipe to the vsock, has one opener, the supervisor: its descriptor is taken (pidfd_open 434, pidfd_getfd 438) and no frame is written.
    const script = `my ($pid, $fd) = @ARGV; my $p = syscall(434, $pid + 0, 0); my $own = syscall(438, $p, $fd + 0, 0);
      die "no descriptor: $!" if $own < 0; open(my $port, '>&=', $own) or die $!; syswrite($port, "\\xff" x 64) == 64 or die $!; sleep 100`
    const attack = sh(vm, 'pid=$(pgrep -f ^/usr/local/bin/node./opt/swarm/supervisor); fd=$(ls -l /proc/$pid/fd | sed -En "s#.* ([0-9]+) -> (/dev/vport.*|/run/swarm-channel-out)\\$#\\1#p"); exec perl -e "$SCRIPT" $pid $fd', { env: { SCRIPT: script } })
    await expect(attack).rejects.toMatchObject({ code: 'vm_ended', details: { reason: 'protocol_violation' } })
    expect(await vm.ended).toEqual({ reason: 'protocol_violation', detail: 'unknown frame type 255' })
  })

  test('forwards beyond the egress limit are cut', async () => {
    await using vm = await restore({ egressBytes: 100_000 })
    const server = createServer((request, response) => { request.resume().on('end', () => response.end('ok')) })
    vm.onForward((stream) => void server.emit('connection', stream))
    const { code } = await sh(vm, 'head -c 5000000 /dev/zero | curl -sS -m 30 -T - http://upload.example/')
    server.closeAllConnections()
    expect(code).not.toBe(0)
    expect((await vm.stats()).egressBytes).toBeLessThan(1_000_000)
  })

  test('a disposed VM leaves no process, socket, disk, cgroup or record', async () => {
    const vm = await restore({ cpuShare: 0.5 })
    const record = openVmJournal(join(host.stateDir, 'vms')).records().find(({ vmId }) => vmId === vm.id)
    expect(record?.cgroups.every((path) => existsSync(path))).toBe(true)
    await vm[Symbol.asyncDispose]()
    expect(await vm.ended).toMatchObject({ reason: 'disposed' })
    expect([...(record?.folders ?? []), ...(record?.cgroups ?? [])].filter((path) => existsSync(path))).toEqual([])
    expect(record?.process !== null && record !== undefined && isAlive(record.process as NonNullable<typeof record.process>)).toBe(false)
    expect(processesMarked(record?.slot ?? 'none')).toEqual([])
    expect(openVmJournal(join(host.stateDir, 'vms')).records().some(({ vmId }) => vmId === vm.id)).toBe(false)
  })

  test('a disposed driver leaves only the template', async () => {
    const other = await open({ warm: 2 })
    await other.driver.restore(other.template, { id: 'VM-LEFT0001', limits: {}, correlationId: 'test' })
    const records = openVmJournal(join(other.stateDir, 'vms')).records()
    expect(records.length).toBeGreaterThanOrEqual(1)
    await other[Symbol.asyncDispose]()
    expect(records.flatMap(({ slot }) => processesMarked(slot))).toEqual([])
    expect(records.flatMap(({ folders, cgroups }) => [...folders, ...cgroups]).filter((path) => existsSync(path))).toEqual([])
    expect(existsSync(other.template.directory)).toBe(true)
  })
}
