/** A node of a screen: plain data, so that a screen can be tested without a browser. */
export function h(tag, attributes = {}, ...children) {
  return { tag, attributes, children: children.flat().filter((child) => child !== null && child !== undefined && child !== false) }
}

/** Makes elements of a tree and puts them in the place of what the host holds. */
export function mount(host, tree) {
  host.replaceChildren(build(tree, host.ownerDocument))
}

function build(node, document) {
  if (typeof node !== 'object') return document.createTextNode(String(node))
  const element = document.createElement(node.tag)
  for (const [name, value] of Object.entries(node.attributes)) {
    if (typeof value === 'function') element.addEventListener(name.replace(/^on/, ''), value)
    else if (value === true) element.setAttribute(name, '')
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value))
  }
  for (const child of node.children) element.append(build(child, document))
  return element
}

/** All text of a tree, in order. */
export function textOf(node) {
  return typeof node === 'object' ? node.children.map(textOf).join('') : String(node)
}

/** The nodes of a tree for which `wanted` is true, in order. */
export function findAll(node, wanted) {
  if (typeof node !== 'object') return []
  return [...(wanted(node) ? [node] : []), ...node.children.flatMap((child) => findAll(child, wanted))]
}
