import { once } from 'node:events'
import { readFile, realpath } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname, join, sep } from 'node:path'

const TYPES: Readonly<Record<string, string>> = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8', '.json': 'application/json' }

/** A static web server on loopback for one folder; `/` is its index.html. Links that lead out of the folder are not followed. */
export async function serveFolder(folder: string): Promise<AsyncDisposable & { readonly url: string }> {
  const root = await realpath(folder)
  const answer = async (path: string): Promise<{ status: number; type: string; body: Buffer | string }> => {
    try {
      const file = await realpath(join(root, decodeURIComponent(path === '/' ? '/index.html' : path)))
      if (!file.startsWith(root + sep)) return { status: 404, type: 'text/plain', body: 'not found' }
      return { status: 200, type: TYPES[extname(file)] ?? 'application/octet-stream', body: await readFile(file) }
    } catch (error) {
      if (error instanceof URIError || (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'EISDIR' || error.code === 'ENOTDIR'))) return { status: 404, type: 'text/plain', body: 'not found' }
      throw error
    }
  }
  const server = createServer((request, response) => {
    answer(new URL(request.url ?? '/', 'http://localhost').pathname).then(({ status, type, body }) => {
      response.writeHead(status, { 'content-type': type, 'x-content-type-options': 'nosniff' }).end(body)
    }, (error: unknown) => { response.writeHead(500).end(String(error)) })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}
