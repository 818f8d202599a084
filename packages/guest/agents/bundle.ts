import { fileURLToPath } from 'node:url'
import { build, type Plugin } from 'esbuild'

/** zod carries its messages in 50 languages (300 kB); the agent speaks English. */
const englishOnly: Plugin = {
  name: 'english-only',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /locales\/index\.js$/ }, ({ resolveDir }) => resolveDir.includes('/zod/') ? { path: `${resolveDir}/../locales/en.js`, namespace: 'english' } : undefined)
    onLoad({ filter: /.*/, namespace: 'english' }, ({ path }) => ({ contents: `export { default as en } from ${JSON.stringify(path)}`, resolveDir: '/' }))
  },
}

/**
 * Writes the agent program as one ESM file for Node 24, with everything inside (nothing else of ours is in the image).
 * @returns its size in bytes.
 */
export async function bundleAgent(outfile: string): Promise<{ bytes: number }> {
  const result = await build({
    entryPoints: [fileURLToPath(new URL('main.ts', import.meta.url))],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'esm',
    // Half the bytes to read and parse under emulation; identifiers stay, for stack traces.
    minifySyntax: true,
    minifyWhitespace: true,
    metafile: true,
    plugins: [englishOnly],
    // CommonJS dependencies of the SDK ask for Node's own modules by require().
    banner: { js: "import{createRequire as __createRequire}from'node:module';const require=__createRequire(import.meta.url);" },
    logLevel: 'error',
  })
  const bytes = Object.values(result.metafile.outputs).reduce((sum, output) => sum + output.bytes, 0)
  return { bytes }
}
