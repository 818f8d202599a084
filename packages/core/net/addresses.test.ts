import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { classifyAddress, formatAddress, inRange, looksLikeAddress, parseAddress, parseRange, type IpAddress } from './addresses.ts'

const address = (text: string): IpAddress => {
  const parsed = parseAddress(text)
  if (parsed === null) throw new Error(`not an address: ${text}`)
  return parsed
}
const anyV4 = fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }).map((value): IpAddress => ({ family: 4, value }))
const anyV6 = fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }).map((value): IpAddress => ({ family: 6, value }))

describe('parseAddress', () => {
  test('reads what formatAddress writes', () => {
    fc.assert(fc.property(fc.oneof(anyV4, anyV6), (any) => { expect(parseAddress(formatAddress(any))).toEqual(any) }))
  })
  test('reads every IPv6 address as the URL parser does, compressed or not', () => {
    fc.assert(fc.property(anyV6, (any) => { expect(parseAddress(new URL(`http://[${formatAddress(any)}]/`).hostname.slice(1, -1))).toEqual(any) }))
  })
  test.each(['', '1.2.3', '1.2.3.4.5', '01.2.3.4', '1.2.3.256', '0x7f.0.0.1', '1.2.3.4 ', ':', ':::', '1::2::3', '::1%eth0', '12345::', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '::1.2.3', '1:2:3:4:5:6:7::8', 'g::'])('refuses %j', (text) => {
    expect(parseAddress(text)).toBeNull()
  })
})

describe('looksLikeAddress', () => {
  test('holds for every host that the URL parser turns into an IPv4 address', () => {
    const number = fc.oneof(fc.nat(300).map(String), fc.nat(0xffff).map((value) => `0x${value.toString(16)}`), fc.nat(0o777).map((value) => `0${value.toString(8)}`), fc.nat(4294967295).map(String))
    fc.assert(fc.property(fc.array(number, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('.')), (host) => {
      const url = URL.parse(`http://${host}/`)
      if (url !== null) expect(parseAddress(url.hostname)?.family).toBe(4)
      expect(looksLikeAddress(host)).toBe(true)
    }))
  })
  test.each(['127.0.0.1', '2130706433', '0x7f000001', '0x7f.1', '017700000001', '127.1', '127.0.0.1.', '0x', '[::1]', '::1', 'fe80::1%eth0', '::ffff:127.0.0.1'])('holds for %s', (host) => expect(looksLikeAddress(host)).toBe(true))
  test.each(['example.org', 'localhost', '1.example.org', 'x1', '127.0.0.1.nip.io', '3com.com', '0x7f.com', 'a.0xfg'])('does not hold for %s', (host) => expect(looksLikeAddress(host)).toBe(false))
})

describe('classifyAddress', () => {
  test.each([
    ['8.8.8.8', 'public'], ['2606:4700::1111', 'public'], ['172.15.255.255', 'public'], ['172.32.0.0', 'public'], ['100.128.0.0', 'public'], ['2a00:1450::1', 'public'],
    ['169.254.169.254', 'metadata'], ['169.254.170.2', 'metadata'], ['100.100.100.200', 'metadata'], ['168.63.129.16', 'metadata'], ['192.0.0.192', 'metadata'], ['fd00:ec2::254', 'metadata'], ['fd20:ce::254', 'metadata'],
    ['::ffff:169.254.169.254', 'metadata'], ['64:ff9b::a9fe:a9fe', 'metadata'], ['2002:a9fe:a9fe::1', 'metadata'], ['::169.254.169.254', 'metadata'],
    ['127.0.0.1', 'loopback'], ['127.255.255.255', 'loopback'], ['::1', 'loopback'], ['::ffff:127.0.0.1', 'loopback'],
    ['10.0.0.1', 'private'], ['172.16.0.1', 'private'], ['172.31.255.255', 'private'], ['192.168.1.1', 'private'], ['fc00::1', 'private'], ['fdff::1', 'private'], ['::ffff:10.0.0.1', 'private'],
    ['169.254.0.1', 'link_local'], ['fe80::1', 'link_local'], ['100.64.0.1', 'shared'], ['100.127.255.255', 'shared'], ['224.0.0.1', 'multicast'], ['ff02::1', 'multicast'],
    ['0.0.0.0', 'special_use'], ['0.1.2.3', 'special_use'], ['192.0.2.1', 'special_use'], ['198.18.0.1', 'special_use'], ['198.51.100.1', 'special_use'], ['203.0.113.1', 'special_use'], ['240.0.0.1', 'special_use'], ['255.255.255.255', 'special_use'],
    ['::', 'special_use'], ['::ffff:8.8.8.8', 'special_use'], ['64:ff9b::808:808', 'special_use'], ['64:ff9b:1::1', 'special_use'], ['100::1', 'special_use'], ['2001::1', 'special_use'], ['2001:db8::1', 'special_use'], ['2002:808:808::1', 'special_use'], ['3fff::1', 'special_use'], ['5f00::1', 'special_use'], ['4000::1', 'special_use'],
  ])('%s is %s', (text, kind) => expect(classifyAddress(address(text))).toBe(kind))

  test('no IPv6 form of an IPv4 address is public, and a forbidden one keeps its class', () => {
    fc.assert(fc.property(anyV4, (any) => {
      const plain = classifyAddress(any)
      const [a, b] = [any.value >> 16n, any.value & 0xffffn].map((part) => part.toString(16))
      for (const text of [`::ffff:${a}:${b}`, `64:ff9b::${a}:${b}`, `2002:${a}:${b}::1`]) {
        const kind = classifyAddress(address(text))
        expect(kind).not.toBe('public')
        if (plain !== 'public') expect(kind).toBe(plain)
      }
    }))
  })
})

describe('parseRange', () => {
  test('holds exactly the addresses that share the prefix', () => {
    fc.assert(fc.property(anyV4, anyV4, fc.nat(32), (base, other, prefix) => {
      const shift = BigInt(32 - prefix)
      const range = parseRange(`${formatAddress({ family: 4, value: (base.value >> shift) << shift })}/${prefix}`)
      if (range === null) throw new Error('refused')
      expect(inRange(other, range)).toBe(other.value >> shift === base.value >> shift)
    }))
  })
  test.each(['10.0.0.1/8', '10.0.0.0/33', '10.0.0.0/', '10.0.0.0/8/8', 'x/8', '10.0.0.0/08', '::/129'])('refuses %s', (text) => expect(parseRange(text)).toBeNull())
})
