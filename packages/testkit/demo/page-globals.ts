/** The part of an element that a page of plain modules uses. */
export interface PageElement {
  readonly tagName: string
  readonly ownerDocument: object
  readonly attributes: Record<string, string>
  readonly listeners: Record<string, (event: unknown) => void>
  children: (PageElement | string)[]
  textContent: string
  hidden: boolean
  setAttribute(name: string, value: string): void
  addEventListener(name: string, act: (event: unknown) => void): void
  append(...children: (PageElement | string)[]): void
  replaceChildren(...children: (PageElement | string)[]): void
  querySelector(tags: string): PageElement | null
  focus(): void
}

/**
 * Globals for starting a page outside a browser: `document` with the elements of `html` that have an id (and no others),
 * `localStorage`, `queueMicrotask`. Everything else is missing, and a page that uses it fails.
 */
export function createPageGlobals(html: string): { globals: Record<string, unknown>; body: PageElement } {
  const document = {
    getElementById: (id: string) => named.get(id) ?? null,
    createElement: (tag: string) => element(tag),
    createTextNode: (text: string) => text,
  }
  const element = (tagName: string): PageElement => ({
    tagName, ownerDocument: document, attributes: {}, listeners: {}, children: [], hidden: false,
    get textContent() { return textOf(this) },
    set textContent(text) { this.children = text === '' ? [] : [text] },
    setAttribute(name, value) { this.attributes[name] = value },
    addEventListener(name, act) { this.listeners[name] = act },
    append(...children) { this.children.push(...children) },
    replaceChildren(...children) { this.children = children },
    querySelector(tags) { return find(this, tags.split(',').map((tag) => tag.trim())) },
    focus() {},
  })
  const body = element('body')
  const named = new Map<string, PageElement>()
  for (const [, tag = '', id = ''] of html.matchAll(/<([a-z][a-z0-9]*)\b[^>]*?\bid="([^"]+)"/g)) {
    const made = element(tag)
    named.set(id, made)
    body.append(made)
  }
  const held = new Map<string, string>()
  const localStorage = { getItem: (key: string) => held.get(key) ?? null, setItem: (key: string, value: string) => { held.set(key, value) }, removeItem: (key: string) => { held.delete(key) } }
  return { globals: { document, localStorage, queueMicrotask }, body }
}

/** All text below an element. */
export function textOf(node: PageElement | string): string {
  return typeof node === 'string' ? node : node.children.map(textOf).join(' ').replaceAll(/\s+/g, ' ').trim()
}

function find(node: PageElement, tags: readonly string[]): PageElement | null {
  for (const child of node.children) {
    if (typeof child === 'string') continue
    if (tags.includes(child.tagName)) return child
    const inside = find(child, tags)
    if (inside) return inside
  }
  return null
}
