import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { createAnnouncer } from '../src/ui/announce.js'

test('R10: the region is emptied before it gets the text, so that a repeated text is read again', () => {
  const region = { textContent: 'Round 1' }
  const waiting = []
  const announce = createAnnouncer(region, (act) => waiting.push(act))
  announce('Round 1')
  assert.equal(region.textContent, '')
  waiting.forEach((act) => act())
  assert.equal(region.textContent, 'Round 1')
})

test('R10: the page has a polite live region that nobody sees', () => {
  const page = readFileSync(new URL('../index.html', import.meta.url), 'utf8')
  assert.match(page, /<p id="announcements" class="visually-hidden" role="status" aria-live="polite"><\/p>/)
  assert.match(readFileSync(new URL('../src/ui/styles.css', import.meta.url), 'utf8'), /\.visually-hidden \{/)
})
