'use strict'
// Preloaded into every Node process of the guest (NODE_OPTIONS): the proxy of NODE_USE_ENV_PROXY=1, set up at the first
// request instead of at the start. At the start it loads undici, which took every `node` under emulation from 0.4 s to 1.3 s,
// and most of them (tests, compilers) never make a request.
const { registerHooks, syncBuiltinESMExports } = require('node:module')

let applied = false
function apply() {
  if (applied) return
  applied = true
  process.getBuiltinModule('node:http').setGlobalProxyFromEnv()
}

const fetchDescriptor = Object.getOwnPropertyDescriptor(globalThis, 'fetch')
Object.defineProperty(globalThis, 'fetch', {
  configurable: true, enumerable: true,
  get() {
    apply()
    Object.defineProperty(globalThis, 'fetch', fetchDescriptor)
    return globalThis.fetch
  },
  set(value) {
    Object.defineProperty(globalThis, 'fetch', { configurable: true, enumerable: true, writable: true, value })
  },
})

const wrapped = new Set()
function wrap(name) {
  if (wrapped.has(name)) return
  wrapped.add(name)
  const library = process.getBuiltinModule(name)
  for (const method of ['request', 'get']) {
    const original = library[method]
    library[method] = function (...args) {
      apply()
      return original.apply(this, args)
    }
  }
  syncBuiltinESMExports()
}

registerHooks({
  resolve(specifier, context, next) {
    if (specifier === 'http' || specifier === 'node:http') wrap('node:http')
    if (specifier === 'https' || specifier === 'node:https') wrap('node:https')
    return next(specifier, context)
  },
})
