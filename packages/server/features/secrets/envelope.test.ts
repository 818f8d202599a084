import { Secret } from '@swarm/core/secret.ts'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { open, rewrap, seal, wrappingKey, type About } from './envelope.ts'

const about = fc.record({ id: fc.string(), scope: fc.string(), version: fc.nat() })
const key = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(wrappingKey)

test('a secret opens under its key, after any number of changes of key, and under no key from before', () => {
  fc.assert(fc.property(fc.string(), about, fc.uniqueArray(key, { minLength: 2, maxLength: 5, selector: ({ id }) => id }), (value, of, keys) => {
    const [first, ...later] = keys
    const sealed = seal(new Secret(value), of, first!)
    expect(open(sealed, of, first!).reveal()).toBe(value)
    const [last, moved] = later.reduce<[typeof first, typeof sealed]>(([from, envelope], to) => [to, rewrap(envelope, of, from!, to)], [first, sealed])
    expect([moved.sealed, moved.keyId]).toEqual([sealed.sealed, last!.id])
    expect(open(moved, of, last!).reveal()).toBe(value)
    expect(() => open(moved, of, first!)).toThrow()
  }), { numRuns: 100 })
})

test('nothing opens that was altered by one bit, or is said to be of another secret, scope or version', () => {
  fc.assert(fc.property(fc.string(), about, about, key, fc.constantFrom('sealed', 'wrappedKey'), fc.nat(), fc.integer({ min: 0, max: 7 }), (value, of, other, by, part, at, bit) => {
    const envelope = seal(new Secret(value), of, by)
    const bytes = Buffer.from(envelope[part as 'sealed'], 'base64')
    bytes[at % bytes.length]! ^= 1 << bit
    expect(() => open({ ...envelope, [part]: bytes.toString('base64') }, of, by)).toThrow()
    for (const name of Object.keys(of) as (keyof About)[]) if (of[name] !== other[name]) expect(() => open(envelope, { ...of, [name]: other[name] }, by)).toThrow()
  }), { numRuns: 200 })
})

test('the same value is sealed differently each time', () => {
  const [of, by] = [{ id: 'SEC-1', scope: 's', version: 1 }, wrappingKey(new Uint8Array(32))]
  const [one, two] = [seal(new Secret('value'), of, by), seal(new Secret('value'), of, by)]
  expect(one.sealed).not.toBe(two.sealed)
  expect(one.wrappedKey).not.toBe(two.wrappedKey)
})
