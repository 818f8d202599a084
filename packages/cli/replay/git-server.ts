import { spawn } from 'node:child_process'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { gitEnvironment, SAFE_CONFIG } from '@swarm/git/run.ts'

/** Most bytes of the header block that git's CGI program may write. */
const HEAD_BYTES = 64 * 1024

/**
 * Answers one request of git's smart HTTP protocol from a repository that belongs to nobody else, by git's own `http-backend` (CGI,
 * RFC 3875). `rest` is the path behind the repository's, such as `/info/refs`.
 */
export async function answerGit(repository: string, rest: string, query: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const encoding = request.headers['content-encoding']
  const child = spawn('git', [...SAFE_CONFIG, 'http-backend'], {
    stdio: ['pipe', 'pipe', 'ignore'],
    env: gitEnvironment({
      GIT_PROJECT_ROOT: repository, GIT_HTTP_EXPORT_ALL: '1', PATH_INFO: rest, QUERY_STRING: query, REQUEST_METHOD: request.method ?? 'GET', CONTENT_TYPE: request.headers['content-type'] ?? '',
      // Whoever holds the token of the replay may push here: the repository is the replay's own.
      REMOTE_USER: 'replay', REMOTE_ADDR: '127.0.0.1', ...(encoding === undefined ? {} : { HTTP_CONTENT_ENCODING: encoding }),
    }),
  })
  // git may answer before it has read everything.
  child.stdin.on('error', () => undefined)
  request.pipe(child.stdin)
  response.once('close', () => { child.kill('SIGTERM') })
  let head = Buffer.alloc(0)
  let open = false
  try {
    for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
      if (open) {
        response.write(chunk)
        continue
      }
      head = Buffer.concat([head, chunk])
      const end = head.indexOf('\r\n\r\n')
      if (end < 0 && head.length > HEAD_BYTES) break
      if (end < 0) continue
      const headers = head.subarray(0, end).toString('latin1').split('\r\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()] as const)
      const status = headers.find(([name]) => name.toLowerCase() === 'status')?.[1] ?? '200'
      response.writeHead(Number.parseInt(status, 10), Object.fromEntries(headers.filter(([name]) => name.toLowerCase() !== 'status')))
      response.write(head.subarray(end + 4))
      open = true
    }
  } finally {
    child.kill('SIGTERM')
  }
  if (!open) response.writeHead(502)
  response.end()
}
