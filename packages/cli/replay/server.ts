import { randomBytes, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import type { RecordedWork } from '@swarm/contract/endpoints/replay.ts'
import { claim, complete, fail, heartbeat, release, status, type AttemptWork } from '@swarm/contract/runner-protocol.ts'
import { answerGit } from './git-server.ts'
import type { ReplayModel } from './model.ts'

/*
 * The server of one stay of one attempt, on loopback, for the shipped runner: it hands out the recorded work once, answers for
 * the model, serves a repository of its own, and takes the result. The runner cannot tell it from a Swarm server, so what is
 * replayed is the runner's own way of working; and since no token of the real server is in it, nothing there can be touched.
 *
 *   POST /claim               the work, then nothing more      POST /heartbeat /status    taken note of
 *   POST /model/v1/messages   the next recorded answer         POST /complete /fail /release   the outcome
 *   /git/<project>/<repository>/…   git's smart HTTP
 */

export interface Ended { readonly outcome: string; readonly message: string; /** What was pushed, if anything. */ readonly sha: string | null }

export interface ReplayServer extends AsyncDisposable {
  readonly url: string
  /** Opens everything here and nothing elsewhere. */
  readonly token: string
  /** Resolves when the runner has handed in, given up or given back the work. */
  readonly ended: Promise<Ended>
  /** Digests of the images that its microVMs started from. */
  images(): string[]
}

export async function startReplayServer(options: { work: RecordedWork; model: ReplayModel; repository: string; egressAllow: readonly string[]; onStep: (words: string) => void }): Promise<ReplayServer> {
  const { work, model, repository } = options
  const token = `swarm_attempt_${randomBytes(32).toString('base64url')}`
  const ended = Promise.withResolvers<Ended>()
  const images = new Set<string>()
  const closing = new AbortController()
  let taken: string | null = null
  const gitPath = `/git/${work.projectSlug}/${work.repositorySlug}`
  const given: AttemptWork = { ...work, token, egressAllow: [...options.egressAllow] }

  async function hold(waitMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, waitMs)
      closing.signal.addEventListener('abort', () => { clearTimeout(timer); resolve() }, { once: true })
    })
  }

  const routes: Record<string, (body: unknown) => Promise<object> | object> = {
    [claim.path]: async (body) => {
      const { kinds, claimKey, waitMs } = claim.body!.parse(body)
      if (kinds.includes('attempt') && (taken === null || taken === claimKey)) {
        taken = claimKey
        return { work: given }
      }
      await hold(waitMs)
      return { work: null }
    },
    [heartbeat.path]: () => ({ stop: [] }),
    [status.path]: (body) => {
      const { step, vm } = status.body!.parse(body)
      if (vm?.imageDigest) images.add(vm.imageDigest)
      if (step) options.onStep(`${step.name}: ${step.state}`)
      return { recorded: true }
    },
    [complete.path]: (body) => {
      const result = complete.body!.parse(body)
      if (result.kind === 'attempt') ended.resolve({ outcome: 'handed_in', message: result.summary, sha: result.headSha })
      return { accepted: true }
    },
    [fail.path]: (body) => {
      const { reason, message, wipSha } = fail.body!.parse(body)
      ended.resolve({ outcome: reason, message, sha: wipSha })
      return { accepted: true }
    },
    [release.path]: (body) => {
      const { reason, wipSha, question } = release.body!.parse(body)
      ended.resolve({ outcome: reason, message: question?.text ?? '', sha: wipSha })
      return { accepted: true }
    },
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://replay')
    if (!isToken(request.headers.authorization, token)) return send(response, 401, { error: { code: 'unauthenticated', message: 'Not the token of this replay.', remedy: '', details: {}, correlationId: '' } })
    if (url.pathname.startsWith(`${gitPath}/`)) return await answerGit(repository, url.pathname.slice(gitPath.length), url.search.slice(1), request, response)
    if (request.method === 'POST' && url.pathname === '/model/v1/messages') {
      const said = model.answer(await text(request))
      response.writeHead(said.status, { 'content-type': said.type, 'x-should-retry': 'false', 'x-swarm-replay': 'true' }).end(said.body)
      return
    }
    const route = request.method === 'POST' ? routes[url.pathname] : undefined
    if (!route) return send(response, 404, { error: { code: 'not_found', message: 'A replay has no such route.', remedy: '', details: {}, correlationId: '' } })
    send(response, 200, await route(JSON.parse(await text(request))))
  }

  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => {
      if (response.headersSent) response.destroy()
      else send(response, 400, { error: { code: 'invalid_input', message: error instanceof Error ? error.message : String(error), remedy: '', details: {}, correlationId: '' } })
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, token, ended: ended.promise, images: () => [...images],
    async [Symbol.asyncDispose]() {
      closing.abort()
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

function send(response: ServerResponse, code: number, body: object): void {
  response.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

function isToken(header: string | undefined, token: string): boolean {
  // git's client sends it as the password of Basic where a proxy did not add it; here the proxy always does.
  const given = Buffer.from(header ?? '')
  const wanted = Buffer.from(`Bearer ${token}`)
  return given.length === wanted.length && timingSafeEqual(given, wanted)
}
