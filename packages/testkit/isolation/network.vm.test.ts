import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ATTACKS, connect, EXEMPT, FORBIDDEN, get, LISTED_NAMES, LITERALS, OTHER_PUBLIC, PUBLIC, PUBLIC_V6 } from '@swarm/runner/egress/testing-attacks.ts'
import { eachIsolatingDriver } from './drivers.ts'
import { outcomeOf, reachedIn, startAttackedHost, type AttackedHost } from './host.ts'

/*
 * What a hostile guest reaches on the network: nothing but what it may. Every address has listeners that record; each attack
 * is sent by a process in a real microVM, and what is refused is shown to have reached nobody.
 */

await eachIsolatingDriver((driver) => {
  let host: AttackedHost
  beforeAll(async () => { host = await startAttackedHost(driver) })
  afterAll(async () => { await host[Symbol.asyncDispose]() })

  test('there is no network device but lo, and no route', async () => {
    const { stdout } = await host.sh('first', 'ls /sys/class/net; tail -n +2 /proc/net/route | wc -l; grep -cv " lo$" /proc/net/ipv6_route || true; ls /sys/class/net/lo/device 2>&1 | tail -c 30')
    expect(stdout).toMatch(/^lo\n0\n0\n/)
  })

  describe('without the proxy', () => {
    const everywhere = [PUBLIC, PUBLIC_V6, OTHER_PUBLIC, EXEMPT, ...FORBIDDEN]
    test('no address answers by TCP, UDP, ICMP or as a link', async () => {
      const from = host.happened.length
      // One process for all: each start costs a tenth of a second under emulation. Every attempt prints what came of it.
      const script = `use Socket qw(:all); $SIG{ALRM} = sub { die "timeout\\n" };
        for my $address (@ARGV) {
          my $v6 = $address =~ /:/; my $family = $v6 ? PF_INET6 : PF_INET;
          my $place = sub { $v6 ? pack_sockaddr_in6($_[0], inet_pton(AF_INET6, $address)) : sockaddr_in($_[0], inet_aton($address)) };
          for my $port (80, 443, 22, 8080) { socket(my $s, $family, SOCK_STREAM, 0) or die; alarm 3; print eval { connect($s, $place->($port)) } ? "REACHED $address $port\\n" : "no\\n"; alarm 0 }
          for my $port (53, 123) { socket(my $s, $family, SOCK_DGRAM, 0) or die; print send($s, 'hello', 0, $place->($port)) ? "SENT $address $port\\n" : "no\\n" }
          if (!$v6) { socket(my $s, PF_INET, SOCK_RAW, 1) or die; print send($s, pack('CCnnn', 8, 0, 0xf7ff, 0, 0), 0, $place->(0)) ? "PINGED $address\\n" : "no\\n" }
        }
        # AF_PACKET 17: a link to write frames to. AF_VSOCK 40: hypervisor (0), loopback (1), host (2), neighbours.
        print socket(my $p, 17, SOCK_RAW, 0x0300) && send($p, 'x' x 64, 0, pack('SnlSCCa8', 17, 0x0800, 2, 0, 0, 6, '')) ? "FRAME\\n" : "no\\n";
        for my $cid (0 .. 6) { for my $port (22, 80, 1024, 8080) { print socket(my $v, 40, SOCK_STREAM, 0) && eval { alarm 3; connect($v, pack('SSLLx4', 40, 0, $port, $cid)) } ? "VSOCK $cid $port\\n" : "no\\n"; alarm 0 } }`
      const { stdout, stderr, code } = await host.exec('first', ['perl', '-e', script, ...everywhere])
      expect({ code, stderr, got: stdout.split('\n').filter((line) => line !== 'no' && line !== '') }).toEqual({ code: 0, stderr: '', got: [] })
      expect(stdout.match(/no\n/g)?.length).toBe(everywhere.length * 6 + everywhere.filter((address) => !address.includes(':')).length + 1 + 28)
      expect(reachedIn(host.happened.slice(from))).toEqual([])
    })

    test('its loopback is its own: neither the host nor another microVM is there', async () => {
      const from = host.happened.length
      // In a process group of its own, so that it outlives its exec.
      const begun = await host.exec('second', ['perl', '-e', `use Socket; socket(my $s, PF_INET, SOCK_STREAM, 0); bind($s, sockaddr_in(9999, INADDR_ANY)) or die; listen($s, 9) or die;
        if (fork()) { print "listens\\n"; exit } setpgrp(0, 0); open(STDOUT, '>/dev/null'); open(STDERR, '>/dev/null'); sleep 600`])
      expect(begun.stdout).toContain('listens')
      const { stdout } = await host.exec('first', ['perl', '-e', `use Socket qw(:all); for my $port (22, 53, 80, 443, 6379, 8080, 9999) { for my $address ('127.0.0.1', '127.0.0.2', '127.255.255.254', '::1') {
        my $v6 = $address =~ /:/; socket(my $s, $v6 ? PF_INET6 : PF_INET, SOCK_STREAM, 0) or die;
        print connect($s, $v6 ? pack_sockaddr_in6($port, inet_pton(AF_INET6, $address)) : sockaddr_in($port, inet_aton($address))) ? "REACHED $address $port " : $!{ECONNREFUSED} ? 'refused ' : "$! " } }`])
      expect(stdout).toBe('refused '.repeat(28))
      const names = ['vm-isolate2', 'vm-isolate2.local', 'second'].map((name) => get(`${name}:9999`))
      expect((await host.send('first', names)).answers.map(outcomeOf)).toEqual(names.map(() => 'egress_host_not_allowed'))
      expect(reachedIn(host.happened.slice(from))).toEqual([])
    })

    test('names are not resolved: no question leaves the guest', async () => {
      const from = host.happened.length
      const { stdout } = await host.sh('first', 'for name in good.test evil.test secret-data.evil.test model.swarm.internal; do getent hosts $name && echo RESOLVED; done; echo done')
      expect(stdout).toBe('done\n')
      expect(host.happened.slice(from)).toEqual([])
    })
  })

  describe('through the proxy', () => {
    /** Everything at once: what came of each, by title. A process in the guest costs a tenth of a second under emulation. */
    async function attack(attacks: readonly (readonly [string, string])[]) {
      const { answers, happenings } = await host.send('first', attacks.map(([, bytes]) => bytes))
      return { outcomes: Object.fromEntries(attacks.map(([title], index) => [title, outcomeOf(answers[index] ?? '')])), happenings, answers }
    }
    const all = (titles: readonly string[], code: string) => Object.fromEntries(titles.map((title) => [title, code]))

    test('hosts of the list are reached, at the address that was checked', async () => {
      const allowed: [string, string][] = [['good.test', `${PUBLIC} 80`], ['v6.test', `${PUBLIC_V6} 80`], ['a.wild.test', `${PUBLIC} 80`], ['inner.test', `${EXEMPT} 80`]]
      const { outcomes, happenings } = await attack(allowed.map(([name]) => [name, get(name)]))
      expect(outcomes).toEqual(all(allowed.map(([name]) => name), 'HTTP/1.1 200 OK'))
      expect(reachedIn(happenings)).toEqual(allowed.map(([, place]) => place))
    })

    test('names of the list that lead to private, metadata and loopback addresses are refused, and nobody is reached', async () => {
      const attacks = LISTED_NAMES.flatMap(([name]): [string, string][] => [[`GET ${name}`, get(name)], [`CONNECT ${name}`, connect(`${name}:443`)]])
      const { outcomes, happenings } = await attack(attacks)
      expect(outcomes).toEqual(all(attacks.map(([title]) => title), 'egress_address_refused'))
      expect(reachedIn(happenings)).toEqual([])
      // They were refused for what the name server said, not before.
      expect([...new Set(happenings.flatMap(({ asked }) => asked?.split(' ')[0] ?? []))].toSorted()).toEqual(LISTED_NAMES.map(([name]) => name).toSorted())
    })

    test('a name that rebinds is reached where it was checked; private at the first look-up or at the second, it is refused', async () => {
      const { outcomes, happenings } = await attack([['public first', get('rebind.test')], ['then private', get('rebind.test')], ['private first', get('rebound.test')], ['then public', get('rebound.test')]])
      expect(outcomes).toEqual({ 'public first': 'HTTP/1.1 200 OK', 'then private': 'egress_address_refused', 'private first': 'egress_address_refused', 'then public': 'HTTP/1.1 200 OK' })
      expect(reachedIn(happenings)).toEqual([`${PUBLIC} 80`, `${PUBLIC} 80`])
    })

    test('an address is refused in every notation, neither looked up nor reached', async () => {
      const attacks = LITERALS.flatMap((literal): [string, string][] => [[`GET ${literal}`, get(literal)], [`CONNECT ${literal}`, connect(`${literal}:443`)]])
      const { outcomes, happenings } = await attack(attacks)
      expect(outcomes).toEqual(all(attacks.map(([title]) => title), 'egress_ip_literal'))
      expect(happenings.filter(({ refused }) => refused === undefined)).toEqual([])
    })

    test('odd ports, hosts off the list, smuggled requests and tricks of form reach nobody, each refused for what it is', async () => {
      const { outcomes, happenings } = await attack(ATTACKS.map(([title, bytes]) => [title, bytes]))
      expect(outcomes).toEqual(Object.fromEntries(ATTACKS.map(([title, , code]) => [title, code])))
      expect(reachedIn(happenings)).toEqual([])
    })

    test('a smuggled second request is a request of its own, judged for itself', async () => {
      const { answers, happenings } = await attack([['two', `GET http://good.test/ HTTP/1.1\r\nHost: good.test\r\n\r\n${get('169.254.169.254')}`]])
      expect(answers[0]?.match(/HTTP\/1.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 403'])
      expect(reachedIn(happenings)).toEqual([`${PUBLIC} 80`])
    })

    test('plain bytes in a tunnel to port 443 are not carried', async () => {
      const { happenings } = await attack([['plain', connect('good.test:443', 'GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n')]])
      expect(happenings.filter(({ got }) => got !== undefined)).toEqual([])
    })

    test('the server behind Swarm\'s own names gives model and git, and nothing else', async () => {
      const post = (path: string) => `POST http://model.swarm.internal${path} HTTP/1.1\r\nHost: model.swarm.internal\r\nContent-Length: 0\r\n\r\n`
      const attacks: [string, string][] = [
        ['the root', get('model.swarm.internal')], ['another method', post('/v1/messages').replace('POST', 'DELETE')], ['a path that climbs', post('/v1/messages/../../api/tickets')],
        ['an encoded path that climbs', post('/v1/messages%2f..%2f..%2fapi%2ftickets')], ['the API under the name of git', get('git.swarm.internal').replace('internal/ ', 'internal/api/tickets ')],
        ['metrics', get('git.swarm.internal').replace('internal/ ', 'internal/metrics ')], ['a claim', post('/claim')],
      ]
      expect((await attack(attacks)).outcomes).toEqual(all(attacks.map(([title]) => title), 'egress_route_unknown'))
      const ports = ['model.swarm.internal:8080', 'model.swarm.internal:443', 'git.swarm.internal:22']
      expect((await attack(ports.map((name) => [name, connect(name)]))).outcomes).toEqual(all(ports, 'egress_port_refused'))
    })
  })

  test('in all of this nobody was reached on an address that may not be', () => {
    const reached = new Set(reachedIn(host.happened).map((place) => place.split(' ')[0]))
    expect([...reached].toSorted()).toEqual([EXEMPT, PUBLIC_V6, PUBLIC].toSorted())
  })
})
