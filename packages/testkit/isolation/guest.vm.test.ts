import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eachIsolatingDriver } from './drivers.ts'
import { startAttackedHost, type AttackedHost } from './host.ts'
import { encodings, hidden, SEARCH } from './search.ts'

/* What a hostile guest finds in its own machine: no secret, nothing of another attempt, nothing to write that outlives it, no twin. */

/** Hardware that a guest has, as PCI vendor:device; each is code of the VMM that a guest can talk to. */
const DEVICES: Record<string, string[][]> = {
  // Two disks, the channel; ISA bridge and host bridge of q35 (emulation), or the host bridge of microvm (KVM).
  qemu: [['1af4:1001', '1af4:1001', '1af4:1003', '8086:2918', '8086:29c0'], ['1af4:1001', '1af4:1001', '1af4:1003', '1b36:0008']],
  firecracker: [[]],
}

await eachIsolatingDriver((driver) => {
  let host: AttackedHost
  let before: Record<string, string>
  beforeAll(async () => {
    host = await startAttackedHost(driver)
    before = await host.ask<Record<string, string>>({ do: 'files' })
  })
  afterAll(async () => { await host[Symbol.asyncDispose]() })

  describe('secrets of the host', () => {
    test('are nowhere in the memory of the microVM or its VMM, as they are or in base64', async () => {
      // In the guest, so that the search is seen to find what is there: in memory of a process, and in a file that was read.
      const mine = randomBytes(16).toString('hex')
      const [head, tail] = [mine.slice(0, 16), mine.slice(16)]
      await host.sh('first', 'printf %s%s "$HEAD" "$TAIL" > /tmp/mine; cat /tmp/mine', { env: { HEAD: head, TAIL: tail } })
      const texts = Object.entries(host.facts.secrets).flatMap(([name, secret]) => encodings(secret).map((text) => ({ name, text })))
      const found = await host.ask<string[]>({ do: 'memory', vm: 'first', texts: [mine, ...texts.map(({ text }) => text)] })
      expect(found.map((text) => texts.find((each) => each.text === text)?.name ?? 'what the test has put there')).toEqual(['what the test has put there'])
    })

    test('are nowhere that root in the guest can read: kernel memory, memory of processes, environments, files, disks', async () => {
      const mine = randomBytes(16).toString('hex')
      await host.sh('first', 'cat > /root/mine; sync', { stdin: mine })
      const patterns = [mine, ...Object.values(host.facts.secrets).flatMap(encodings)]
      const { code, stdout, stderr } = await host.exec('first', ['perl', '-e', SEARCH], { stdin: patterns.map((text) => `${hidden(text)}\n`).join(''), timeoutMs: 200_000 })
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      const result = JSON.parse(stdout) as { searched: Record<string, number>; found: { pattern: number; place: string }[] }
      // Each source was read, and what is there was found in it.
      for (const source of ['files', 'environments']) expect(result.searched[source], source).toBeGreaterThan(100)
      expect(result.searched['disks']).toBeGreaterThan(1_000_000_000)
      expect(result.searched['kernel'] ?? result.searched['processes']).toBeGreaterThan(100_000_000)
      const places = new Set(result.found.filter(({ pattern }) => pattern === 0).map(({ place }) => place))
      expect([...places]).toEqual(expect.arrayContaining(['/root/mine', '/dev/vdb', '/proc/kcore']))
      expect(result.found.filter(({ pattern }) => pattern > 0)).toEqual([])
    })

    test('are not in the environment that the VMM was started with', async () => {
      const environment = await host.ask<string[]>({ do: 'environment', vm: 'first' })
      expect(environment.map((each) => each.split('=')[0])).toEqual(['PATH'])
    })
  })

  describe('another attempt', () => {
    const git = (script: string) => host.sh('first', `cd /work/repository && ${script}`, { env: { URL: host.facts.repository, OTHER: host.facts.otherRepository, HEAD_OF_OTHER: host.facts.secondHead, ATTEMPT: host.facts.attempts[1]!.attemptId, TOKEN: host.facts.attempts[1]!.token } })

    test('is not listed among the refs, with or without its token', async () => {
      const plain = await git('git ls-remote "$URL"')
      expect(plain.stdout).toContain('refs/heads/main')
      expect(plain.stdout).toContain(host.facts.attempts[0]!.attemptId)
      expect(plain.stdout).not.toContain(host.facts.attempts[1]!.attemptId)
      // The proxy speaks for this attempt, whatever the guest says.
      const headers = ['Authorization: Bearer $TOKEN', 'X-Api-Key: $TOKEN', 'Cookie: token=$TOKEN'].map((header) => `-c http.extraHeader="${header}"`)
      expect((await git(`git ${headers.join(' ')} ls-remote "$URL"`)).stdout).toBe(plain.stdout)
    })

    test('cannot be fetched, by ref or by commit', async () => {
      const { stdout } = await git(`for what in "refs/swarm/attempts/$ATTEMPT/work" "refs/swarm/attempts/$ATTEMPT/start" "$HEAD_OF_OTHER"; do git -c http.extraHeader="Authorization: Bearer $TOKEN" fetch -q origin "$what" 2>/dev/null; echo $?; done; git cat-file -e "$HEAD_OF_OTHER" 2>/dev/null; echo $?`)
      expect(stdout).toBe('128\n128\n128\n1\n')
    })

    test('cannot be pushed to, nor can main or a tag', async () => {
      const refs = await host.ask<string[]>({ do: 'refs' })
      const { stdout } = await git(`for what in HEAD ""; do
        git -c http.extraHeader="Authorization: Bearer $TOKEN" push --force --porcelain origin "$what:refs/swarm/attempts/$ATTEMPT/work" "$what:refs/heads/main" "$what:refs/heads/new" "$what:refs/tags/new" "$what:refs/swarm/checks/CHK-1" 2>/dev/null | grep "^[ +*=-]"; done; echo done`)
      expect(stdout).toBe('done\n')
      expect(await host.ask<string[]>({ do: 'refs' })).toEqual(refs)
      // What it may: its own ref.
      expect((await git(`git push -q origin "HEAD:refs/swarm/attempts/${host.facts.attempts[0]!.attemptId}/probe" && echo PUSHED`)).stdout).toBe('PUSHED\n')
    })

    test('has no repository in common with another project', async () => {
      expect((await git('git ls-remote "$OTHER" 2>&1')).stdout).toMatch(/404|not found/i)
    })

    test('does not pay for model calls of this one, though its token is sent along', async () => {
      const [mine, theirs] = host.facts.attempts
      const body = JSON.stringify({ model: 'claude-sonnet-5-5', max_tokens: 100, system: `Swarm-Role: developer\nSwarm-Ticket-Key: ${mine!.ticketKey}\nSwarm-Attempt: 1`, messages: [{ role: 'user', content: 'Begin.' }] })
      const { stdout } = await host.sh('first', 'curl -s -m 60 http://model.swarm.internal/v1/messages -H "authorization: Bearer $TOKEN" -H "x-api-key: $TOKEN" -H "content-type: application/json" -H "anthropic-version: 2023-06-01" -d "$BODY" -i', { env: { TOKEN: theirs!.token, BODY: body } })
      expect(stdout).toMatch(/^HTTP\/1.1 200 /)
      expect(stdout).toContain('hello from the model')
      for (const secret of Object.values(host.facts.secrets)) expect(stdout).not.toContain(secret)
      expect(await host.ask({ do: 'calls' })).toMatchObject([{ attempt_id: mine!.attemptId, status: 200 }])
    })
  })

  describe('the machine', () => {
    test('has the devices that it needs, and no others', async () => {
      const { stdout } = await host.sh('first', 'cat /sys/bus/pci/devices/*/vendor | sed s/0x// > /tmp/vendors; cat /sys/bus/pci/devices/*/device | sed s/0x// | paste -d: /tmp/vendors - | sort; echo --; ls /sys/block | tr "\\n" " "; ls /sys/class/net | tr "\\n" " "; ls /sys/class/virtio-ports 2>/dev/null | wc -l; ls -d /sys/class/drm/* /sys/class/sound/* /sys/bus/usb/devices/* /sys/class/fc_host/* /sys/class/tpm/* 2>/dev/null | wc -l')
      const [devices, rest] = stdout.split('--\n')
      expect(DEVICES[driver]).toContainEqual(devices?.trim().split('\n').filter((line) => line !== ''))
      expect(rest).toMatch(/^(loop\d+ |ram\d+ |zram\d+ )*vda vdb lo \d+\n0\n$/)
    })

    test('cannot write to the base image, by any way that root has', async () => {
      const { stdout } = await host.sh('first', `cat /sys/block/vda/ro; blockdev --setrw /dev/vda 2>/dev/null; dd if=/dev/zero of=/dev/vda bs=4096 count=16 conv=fsync 2>/dev/null && echo WRITTEN; mount -o remount,rw /dev/vda 2>/dev/null && echo REMOUNTED
        perl -e 'open(my $d, "+<", "/dev/vda") or die; syswrite($d, "x" x 4096) and print "WRITTEN\\n"' 2>/dev/null; echo done`)
      expect(stdout).toBe('1\ndone\n')
      // Its own root is writable, and that is a layer of its own.
      expect((await host.sh('first', 'echo mine > /usr/bin/mine && rm /usr/bin/rg && echo written')).stdout).toBe('written\n')
      expect((await host.sh('second', 'ls /usr/bin/mine /usr/bin/rg 2>/dev/null')).stdout).toBe('/usr/bin/rg\n')
    })

    test('leaves image and template as they were, byte for byte, after its memory and disk were written all over', async () => {
      const written = await host.sh('first', 'head -c 150000000 /dev/urandom > /dev/shm/noise; head -c 50000000 /dev/zero > /work/noise; sync; wc -c < /dev/shm/noise; rm /dev/shm/noise')
      expect(written).toMatchObject({ code: 0, stdout: '150000000\n' })
      expect(await host.ask({ do: 'files' })).toEqual(before)
    })
  })

  test('two clones draw different random bytes, uuids, ephemeral ports, machine and boot ids, and host names', async () => {
    const PORTS = 'use Socket; for (1 .. 4) { socket(my $l, PF_INET, SOCK_STREAM, 0); bind($l, sockaddr_in(0, INADDR_ANY)); listen($l, 1); my $at = getsockname($l); socket(my $c, PF_INET, SOCK_STREAM, 0); connect($c, sockaddr_in((sockaddr_in($at))[0], INADDR_LOOPBACK)); print +(sockaddr_in($at))[0], ":", (sockaddr_in(getsockname($c)))[0], " " }'
    const draw = async (vm: string) => (await host.sh(vm, 'od -An -tx1 -N16 /dev/urandom; od -An -tx1 -N16 /dev/random; cat /proc/sys/kernel/random/uuid /proc/sys/kernel/random/boot_id /etc/machine-id; hostname; mktemp -u; node -p "crypto.randomUUID() + Math.random()"; perl -e "$PORTS"; echo; perl -e "print rand()"', { env: { PORTS } })).stdout.trim().split('\n')
    const [first, second] = [await draw('first'), await draw('second')]
    expect(first).toHaveLength(10)
    expect(second).toHaveLength(10)
    expect(first.filter((value, index) => value === second[index])).toEqual([])
  })

  test.each(['first', 'second'])('the clock of the %s guest is right within 50 ms', async (vm) => {
    const { offsetMs, boundMs } = await host.ask<{ offsetMs: number; boundMs: number }>({ do: 'clock', vm })
    expect(Math.abs(offsetMs) + boundMs).toBeLessThan(50)
  })
})
