import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build, type Plugin } from 'esbuild'
import { digestOf } from './inputs.ts'

export interface GuestBundle {
  /** File name under /opt/swarm → content. */
  files: Map<string, Uint8Array>
  init: string
  digest: string
}

/** zod carries its messages in 50 languages (300 kB, parsed under emulation); the guest speaks English. */
const englishOnly: Plugin = {
  name: 'english-only',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /locales\/index\.js$/ }, ({ resolveDir }) => (resolveDir.includes('/zod/') ? { path: `${resolveDir}/../locales/en.js`, namespace: 'english' } : undefined))
    onLoad({ filter: /.*/, namespace: 'english' }, ({ path }) => ({ contents: `export { default as en } from ${JSON.stringify(path)}`, resolveDir: '/' }))
  },
}

const guest = (path: string) => fileURLToPath(new URL(`../../guest/${path}`, import.meta.url))

/** Bundles the guest's programs, one file each. The agent program is there as soon as packages/guest/agents/main.ts is. */
export async function bundleGuest(): Promise<GuestBundle> {
  const files = new Map<string, Uint8Array>()
  for (const [name, entry] of [['supervisor.mjs', 'supervisor.ts'], ['agent.mjs', 'agents/main.ts']] as const) {
    if (!existsSync(guest(entry))) continue
    const result = await build({
      entryPoints: [guest(entry)], bundle: true, write: false, platform: 'node', format: 'esm', target: 'node24', logLevel: 'silent',
      // Less to parse: it is parsed under emulation. Names stay, for stack traces.
      minifyWhitespace: true, minifySyntax: true, legalComments: 'none', plugins: [englishOnly],
      banner: { js: "import{createRequire as swarmRequire}from'node:module';const require=swarmRequire(import.meta.url);" },
    })
    files.set(name, result.outputFiles[0]?.contents ?? new Uint8Array())
  }
  for (const name of ['prepare.pl', 'vsock.pl', 'node-proxy.cjs']) files.set(name, readFileSync(guest(`init/${name}`)))
  const init = readFileSync(guest('init/init.sh'), 'utf8')
  return { files, init, digest: digestOf(init, ...[...files].flat()) }
}
