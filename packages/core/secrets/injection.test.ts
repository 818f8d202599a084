import fc from 'fast-check'
import { expect, test } from 'vitest'
import { headerOf, headerValue, isFormat, mayCarrySecret, shownForms } from './injection.ts'

test('the header is the format with the secret in its place, whatever the secret looks like', () => {
  fc.assert(fc.property(fc.string(), fc.string(), fc.string(), (before, secret, after) => {
    fc.pre(isFormat(`${before}{secret}${after}`))
    expect(headerValue({ kind: 'header', header: 'x-key', format: `${before}{secret}${after}` }, secret)).toBe(before + secret + after)
  }))
  expect(headerValue({ kind: 'header', header: 'x-key', format: 'a {secret}' }, '$& {secret}')).toBe('a $& {secret}')
  const basic = { kind: 'basic' as const, username: 'bot' }
  expect([headerOf(basic), headerValue(basic, 'pass:word')]).toEqual(['authorization', 'Basic Ym90OnBhc3M6d29yZA=='])
})

test.each(['host', 'content-length', 'transfer-encoding', 'connection', 'proxy-authorization', 'accept-encoding', 'x key', 'x\r\ny', '', 'Authorization'])('a secret is not sent in the header "%s"', (header) => {
  expect(mayCarrySecret(header)).toBe(false)
})

test.each(['no place', '{secret}{secret}', 'a\r\n{secret}', 'ü{secret}'])('"%s" is no format', (format) => { expect(isFormat(format)).toBe(false) })

test('the forms in which a secret is looked for are the longest first, so that none hides a part of another', () => {
  const forms = shownForms({ kind: 'basic', username: 'bot' }, 'a/"b=')
  expect(forms).toEqual(expect.arrayContaining(['a/"b=', 'a%2F%22b%3D', 'a/\\"b=', btoa('a/"b='), btoa('bot:a/"b=')]))
  expect(forms.map((form) => form.length)).toEqual(forms.map((form) => form.length).toSorted((a, b) => b - a))
})
