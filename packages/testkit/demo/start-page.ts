import vm from 'node:vm'
import { createPageGlobals, textOf } from './page-globals.ts'

/*
 * node --experimental-vm-modules start-page.ts URL: starts a page as a browser does. Fetches index.html and every file that it
 * names, links its modules (a module that cannot be found, or an imported name that does not exist, is an error), runs the entry
 * point over the few parts of the DOM that it needs, and prints one JSON line. Exit code 1 with the reason on stderr otherwise.
 */

const site = process.argv[2] ?? ''
const html = await get(new URL('/', site), 'text/html')
const named = [...html.matchAll(/<(script|link)\b[^>]*?\b(?:src|href)="([^"]+)"[^>]*>/g)].map(([tag, kind = '', path = '']) => ({ kind, url: new URL(path, `${site}/`), isModule: kind === 'script' && /type="module"/.test(tag) }))
const page = createPageGlobals(html)
const context = vm.createContext(page.globals)
const modules = new Map<string, Promise<vm.SourceTextModule>>()

/** A module of this page by its address; fetched and parsed once. */
function load(url: URL): Promise<vm.SourceTextModule> {
  const known = modules.get(url.href)
  if (known) return known
  if (url.origin !== new URL(site).origin) throw new Error(`${url.href} is not a module of this page`)
  const loading = get(url, 'text/javascript').then((source) => new vm.SourceTextModule(source, { identifier: url.href, context }))
  modules.set(url.href, loading)
  return loading
}

for (const { url, isModule } of named) {
  if (isModule) {
    const entry = await load(url)
    await entry.link((specifier, from) => {
      if (!/^\.{0,2}\//.test(specifier)) throw new Error(`${from.identifier} imports "${specifier}", which no browser can find`)
      return load(new URL(specifier, from.identifier))
    })
    await entry.evaluate()
  } else await get(url, '')
}
if (!named.some(({ isModule }) => isModule)) throw new Error('index.html names no module')
const paths = (urls: Iterable<string>): string[] => [...urls].map((url) => new URL(url).pathname).toSorted()
process.stdout.write(`${JSON.stringify({ files: paths(named.map(({ url }) => url.href)), modules: paths(modules.keys()), drawn: textOf(page.body) })}\n`)

async function get(url: URL, type: string): Promise<string> {
  const response = await fetch(url)
  if (!response.ok || !(response.headers.get('content-type') ?? '').startsWith(type)) throw new Error(`${url.pathname} answers ${response.status} ${response.headers.get('content-type')}`)
  return response.text()
}
