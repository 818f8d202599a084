import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { DomainError } from '@swarm/core/errors.ts'
import { gitEnvironment, SAFE_CONFIG } from '@swarm/git/run.ts'
import { withAllowedCommands } from './commands.ts'

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
  /** The only prefix that a push may write under. */
  readonly pushPrefix: string | null
  /** Most bytes of the body once decompressed. */
  readonly maxBodyBytes: number
  /** Ends git: the client has gone. */
  readonly signal: AbortSignal
  onFailure(exitCode: number | null, stderr: string): void
}

/** A pkt-line: four hexadecimal digits of the length with themselves, then the text. */
const packet = (text: string) => `${(text.length + 4).toString(16).padStart(4, '0')}${text}`
const IDLE_SECONDS = 300
/** How long a push whose client has gone may take to end by itself. */
const GRACE_MS = 10_000

/**
 * One request of git's smart HTTP protocol, answered by git's own `upload-pack` or `receive-pack`; nothing is buffered in
 * either direction. GIT_PROTOCOL is never set, so that protocol v0 is spoken: v2 would serve commits of hidden refs by id.
 * Errors: `git_missing`; of the body, when git has not answered yet: `push_too_large`, `push_forbidden`, `invalid_input`.
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
  // A signal makes receive-pack (since git 2.39) leave its quarantine folder behind; the end of its input does not.
  let grace: NodeJS.Timeout | undefined
  const stop = () => {
    if (input.service === 'upload-pack') child.kill('SIGTERM')
    else {
      stdin.destroy()
      grace ??= setTimeout(() => child.kill('SIGTERM'), GRACE_MS)
    }
  }
  input.signal.addEventListener('abort', stop, { once: true })
  child.once('close', (code) => {
    clearTimeout(grace)
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
  const plain = input.gzip ? input.body.pipe(createGunzip()) : input.body
  const bytes = limited(plain, input.maxBodyBytes)
  const fed = feed(input.pushPrefix === null ? bytes : withAllowedCommands(bytes, input.pushPrefix), stdin).catch((error: unknown) => {
    // The rest is read and dropped, so that the client gets to read the answer.
    plain.resume()
    throw error
  })
  fed.catch(stop)
  const answer = stdout[Symbol.asyncIterator]()
  const first = answer.next()
  // Headers go out with git's first bytes, so that a body that is refused before can still be answered by a status. When it
  // is refused later, git is ended and the answer cut short, which the client sees.
  await Promise.race([first, fed.then(() => first)])
  return Readable.from((async function* () {
    const { value, done } = await first
    if (!done) yield value
    yield* { [Symbol.asyncIterator]: () => answer }
  })(), { objectMode: false })
}

async function* limited(body: Readable, limit: number): AsyncGenerator<Buffer, void, undefined> {
  let bytes = 0
  for await (const chunk of body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > limit) throw new DomainError('push_too_large', { limitBytes: limit })
    yield chunk
  }
}

async function feed(body: AsyncIterable<Buffer>, stdin: NodeJS.WritableStream): Promise<void> {
  // One listener for all chunks: a push has thousands.
  let goOn = (): void => undefined
  for (const event of ['drain', 'close']) stdin.on(event, () => { goOn() })
  for await (const chunk of body) {
    if (stdin.writable && !stdin.write(chunk)) await new Promise<void>((resolve) => { goOn = resolve })
  }
  stdin.end()
}

function prefixed(text: string, rest: Readable): Readable {
  return Readable.from((async function* () {
    yield Buffer.from(text)
    yield* rest
  })(), { objectMode: false })
}
