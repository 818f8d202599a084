import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { DomainError } from '@swarm/core/errors.ts'
import { gitEnvironment, SAFE_CONFIG } from '@swarm/git/run.ts'

export type GitService = 'upload-pack' | 'receive-pack'

export interface ServeInput {
  readonly path: string
  readonly service: GitService
  /** `-c` settings of this one process (refs.ts). */
  readonly settings: readonly string[]
  /** Null: the advertisement of refs. */
  readonly body: Readable | null
  /** Whether the body is compressed, as git's client does with long requests. */
  readonly gzip: boolean
  /** Most bytes of the body once decompressed. */
  readonly maxBodyBytes: number
  /** Ends git: the client has gone. */
  readonly signal: AbortSignal
  onFailure(exitCode: number | null, stderr: string): void
}

/** A pkt-line: four hexadecimal digits of the length with themselves, then the text. */
const packet = (text: string) => `${(text.length + 4).toString(16).padStart(4, '0')}${text}`
const IDLE_SECONDS = 300

/**
 * One request of git's smart HTTP protocol, answered by git's own `upload-pack` or `receive-pack`; nothing is buffered in
 * either direction. GIT_PROTOCOL is never set, so that protocol v0 is spoken: v2 would serve commits of hidden refs by id.
 * Errors: `git_missing`, `push_too_large` (when git has not answered yet).
 */
export async function serveGit(input: ServeInput): Promise<Readable> {
  const child = spawn('git', [
    ...SAFE_CONFIG, ...input.settings, input.service, ...(input.service === 'upload-pack' ? ['--strict', `--timeout=${IDLE_SECONDS}`] : []),
    '--stateless-rpc', ...(input.body === null ? ['--advertise-refs'] : []), input.path,
  ], { cwd: input.path, env: gitEnvironment(), stdio: ['pipe', 'pipe', 'pipe'] })
  const { stdin, stdout, stderr } = child
  // git may answer before it has read everything (a refused push); the rest of the body is read and dropped.
  stdin.on('error', () => undefined)
  let said = ''
  stderr.setEncoding('utf8').on('data', (text: string) => { said = (said + text).slice(-2_000) })
  // SIGTERM lets receive-pack remove its quarantine folder.
  const stop = () => { child.kill('SIGTERM') }
  input.signal.addEventListener('abort', stop, { once: true })
  child.once('close', (code) => {
    input.signal.removeEventListener('abort', stop)
    if (code !== 0 && !input.signal.aborted) input.onFailure(code, said.trim())
  })
  try {
    await once(child, 'spawn')
  } catch (error) {
    throw new DomainError('git_missing', { path: input.path }, { cause: error })
  }
  if (input.signal.aborted) stop()
  if (input.body === null) {
    stdin.end()
    return prefixed(`${packet(`# service=git-${input.service}\n`)}0000`, stdout)
  }
  const fed = feed(input.gzip ? input.body.pipe(createGunzip()) : input.body, stdin, input.maxBodyBytes)
  fed.catch(stop)
  // Headers go out with git's first bytes, so that a body that is refused before can still be answered by a status.
  const first = once(stdout, 'readable')
  await Promise.race([first, fed.then(() => first)])
  // A failure of the body after the answer has begun ends git; the answer is then cut short, which the client sees.
  return stdout
}

async function feed(body: Readable, stdin: NodeJS.WritableStream, limit: number): Promise<void> {
  let bytes = 0
  for await (const chunk of body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > limit) {
      body.resume()
      throw new DomainError('push_too_large', { limitBytes: limit })
    }
    if (!stdin.writable) continue
    if (!stdin.write(chunk)) await Promise.race([once(stdin, 'drain'), once(stdin, 'close')])
  }
  stdin.end()
}

function prefixed(text: string, rest: Readable): Readable {
  return Readable.from((async function* () {
    yield Buffer.from(text)
    yield* rest
  })(), { objectMode: false })
}
