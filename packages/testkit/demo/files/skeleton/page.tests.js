import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { findAll, h, mount, textOf } from '../src/ui/dom.js'

const root = new URL('../', import.meta.url)
const page = readFileSync(new URL('index.html', root), 'utf8')

test('every file that the page names exists', () => {
  const named = [...page.matchAll(/\b(?:src|href)="([^"]+)"/g)].map((match) => match[1])
  assert.ok(named.length >= 2)
  for (const path of named) assert.ok(existsSync(new URL(path, root)), path)
})

test('the page names its language, fits small screens and follows the light or dark setting', () => {
  assert.match(page, /<html lang="en">/)
  assert.match(page, /width=device-width/)
  assert.match(page, /color-scheme" content="light dark"/)
})

test('a tree is data: its text and its nodes can be asked for', () => {
  const tree = h('ul', {}, h('li', {}, 'one'), null, [h('li', { class: 'last' }, 'two ', 3)])
  assert.equal(textOf(tree), 'onetwo 3')
  assert.deepEqual(findAll(tree, (node) => node.attributes.class === 'last').map(textOf), ['two 3'])
})

test('mounting makes elements with attributes and listeners, and replaces what was there', () => {
  const made = (tag) => ({ tag, attributes: {}, listeners: {}, children: [], setAttribute(name, value) { this.attributes[name] = value }, addEventListener(name, act) { this.listeners[name] = act }, append(child) { this.children.push(child) } })
  const host = { ownerDocument: { createElement: made, createTextNode: (text) => text }, replaceChildren(...children) { this.children = children } }
  const act = () => {}
  mount(host, h('button', { type: 'button', disabled: true, hidden: false, onclick: act }, 'Go'))
  const [button] = host.children
  assert.deepEqual(button.attributes, { type: 'button', disabled: '' })
  assert.deepEqual(button.listeners, { click: act })
  assert.deepEqual(button.children, ['Go'])
})
