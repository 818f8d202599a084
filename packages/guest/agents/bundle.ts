import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

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
    // Half the bytes to read and parse under emulation; names are kept for stack traces.
    minifySyntax: true,
    minifyWhitespace: true,
    metafile: true,
    // CommonJS dependencies of the SDK ask for Node's own modules by require().
    banner: { js: "import{createRequire as __createRequire}from'node:module';const require=__createRequire(import.meta.url);" },
    logLevel: 'error',
  })
  const bytes = Object.values(result.metafile.outputs).reduce((sum, output) => sum + output.bytes, 0)
  return { bytes }
}
