import { isIP } from 'node:net'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DomainError } from '@swarm/core/errors.ts'
import { parseAbsoluteForm, parseAuthority } from './request-target.ts'

const nasty = fc.string({ unit: fc.constantFrom(...'ab.:@/\\?#%[]-_0x1 7\t\0é。１'), maxLength: 20 })

function accepted<Value>(step: () => Value): Value | null {
  try {
    return step()
  } catch (error) {
    if (error instanceof DomainError) return null
    throw error
  }
}

describe('what the proxy accepts as a target', () => {
  test('is read as the same host and port by the URL parser, and is never an address', () => {
    let count = 0
    fc.assert(fc.property(fc.oneof(nasty, fc.domain(), fc.tuple(fc.domain(), fc.nat(70_000)).map(([host, port]) => `${host}:${port}`)), (text) => {
      const target = accepted(() => parseAuthority(text, 80))
      if (target === null) return
      count++
      const url = new URL(`http://${text}/`)
      expect(url.hostname).toBe(target.host)
      expect(Number(url.port || 80)).toBe(target.port)
      expect(isIP(url.hostname)).toBe(0)
      expect(url.username).toBe('')
    }), { numRuns: 2_000 })
    expect(count).toBeGreaterThan(100)
  })

  test('is read as the same host and path by the URL parser in absolute form', () => {
    fc.assert(fc.property(fc.tuple(fc.oneof(nasty, fc.domain()), nasty), ([host, rest]) => {
      const form = accepted(() => parseAbsoluteForm(`http://${host}${rest}`))
      if (form === null) return
      expect(new URL(`http://${host}${rest}`).hostname).toBe(form.target.host)
      expect(form.path.startsWith('/')).toBe(true)
      expect(form.path).not.toMatch(/[\s#\\]/)
    }), { numRuns: 2_000 })
  })
})
