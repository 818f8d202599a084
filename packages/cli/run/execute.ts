import { confirm, isCancel } from '@clack/prompts'
import type { Config } from '@swarm/contract/config.ts'
import { createClient, type Client } from '@swarm/contract/client.ts'
import { pushRepository } from '@swarm/contract/endpoints/repositories.ts'
import { listRunners } from '@swarm/contract/endpoints/runners.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { z } from 'zod'
import { Interrupted, UserError } from '../errors.ts'
import { EXIT } from '../exit-codes.ts'
import { duration, money, type Io } from '../io.ts'
import { ensureImage } from '../platform/image.ts'
import { leftoversOf } from '../platform/leftovers.ts'
import { patientFetch, untilReached } from '../platform/patient-fetch.ts'
import { readAdminToken, startPlatform, type Platform } from '../platform/platform.ts'
import { readRunFile } from '../platform/run-file.ts'
import { build } from './build.ts'
import { shownPath, type Source, type Spec } from './inputs.ts'
import { readFacts, summarise, summaryTable, type Facts, type Summary } from './summary.ts'
import { openSession, prepareTarget, sessionMark, type Target } from './target.ts'

export interface RunRequest {
  readonly io: Io
  readonly signal: AbortSignal
  readonly config: Config
  readonly spec: Spec
  readonly source: Source
  readonly rehearsalScript?: string
  /** Name of the model; the settings' own unless given. */
  readonly model?: string
  readonly yes: boolean
  /** The ceiling of real money is agreed on; `yes` unless given. */
  readonly agreed?: boolean
  readonly push: boolean
  /** Start a new session even if an unfinished one of this spec exists. */
  readonly fresh: boolean
  /** Ask about what the spec leaves open. */
  readonly clarify?: boolean
  readonly maxCostMicroUsd: number
  readonly env?: Readonly<Record<string, string | undefined>>
  /** The platform is this run's own even when one runs on this home; 0 = any free port. */
  readonly ownPort?: number
  readonly knownAnswer?: (question: string) => string | undefined
  /** Proves the result beyond its checks. */
  readonly prove?: (target: Target, facts: Facts) => Promise<boolean>
  /** With the result in hand, before the platform is stopped. */
  readonly linger?: (platform: Platform, result: RunResult) => Promise<void>
}

export interface RunResult { readonly summary: Summary; readonly text: string; readonly exitCode: number }

/** Runs a spec on a repository, from nothing to merged changes, on the live platform of the home or on one of its own. */
export async function execute(request: RunRequest): Promise<RunResult> {
  const { io, signal, config } = request
  const live = request.ownPort === undefined ? readRunFile(config.home) : null
  if (live) return await onLive(request, live.url)

  const rehearsal = request.rehearsalScript !== undefined
  const label = modelLabel(config, rehearsal)
  await agreeOnCost(request, label)
  io.say(rehearsal ? io.style('yellow', 'model: REHEARSAL (a script answers instead of Claude)') : `model: ${label} ${request.model ?? config.model.defaultModel}, at most ${money(request.maxCostMicroUsd)}`)
  const startedMs = performance.now()
  const env = { ...request.env, ...(request.model === undefined ? {} : { SWARM_MODEL: request.model }) }
  if (config.vm.driver !== 'process') await ensureImage(io, signal, { env: { SWARM_HOME: config.home } })
  io.status('starting the platform')
  const platform = await startPlatform({
    config, signal, port: request.ownPort ?? 0, env, onNotice: (line) => { io.say(line) }, ...(request.rehearsalScript === undefined ? {} : { rehearsalScript: request.rehearsalScript }),
  })
  try {
    io.status(null)
    const setupMs = performance.now() - startedMs
    io.say(`platform at ${platform.url}, microVMs by ${platform.driver ?? 'nobody'}, ready after ${duration(setupMs)}`)
    const broken = new AbortController()
    platform.broken.then((error) => { broken.abort(error) }, () => undefined)
    const both = AbortSignal.any([signal, broken.signal])
    const result = await perform({ ...request, signal: both }, platform, { setupMs, rehearsalUrl: platform.rehearsalUrl, driver: platform.driver ?? 'none', model: rehearsal ? 'rehearsal' : request.model ?? config.model.defaultModel, own: true })
    await request.linger?.(platform, result)
    const { recorded } = await platform.stopRunner()
    const leaked = recorded + await leftoversOf(config)
    return { ...result, summary: { ...result.summary, vms: { ...result.summary.vms, leaked } } }
  } finally {
    io.status(signal.aborted ? 'stopping: work in progress is saved and given back' : 'stopping')
    await platform[Symbol.asyncDispose]()
    io.status(null)
  }
}

async function onLive(request: RunRequest, url: string): Promise<RunResult> {
  const { config, io } = request
  for (const [given, flag] of [[request.rehearsalScript, '--rehearsal'], [request.model, '--model']] as const) {
    if (given !== undefined) throw new UserError('server_has_model', `A platform runs on ${config.home} already (${url}), with a model of its own, so ${flag} cannot be used.`, `Leave ${flag} out, or stop the platform with "swarm stop", or take another folder with SWARM_HOME.`)
  }
  const client = createClient({ baseUrl: url, token: readAdminToken(config.home), fetch: patientFetch })
  const { items: runners } = await client.call(listRunners, { query: { limit: 200 } }, { signal: request.signal })
  const runner = runners.find(({ online }) => online)
  if (!runner) throw new UserError('no_runner', `No runner is connected to the platform at ${url}.`, 'Start it with a runner ("swarm stop", then "swarm start"), or connect one.', EXIT.platform)
  const label = readRunFile(config.home)?.model ?? 'auto'
  await agreeOnCost(request, label === 'rehearsal' ? 'rehearsal' : modelLabel(config, false))
  io.say(`on the platform at ${url}${label === 'rehearsal' ? io.style('yellow', ' (model: REHEARSAL)') : ''}`)
  return await perform(request, { url, client }, { setupMs: 0, driver: runner.driver ?? 'none', model: label === 'rehearsal' ? 'rehearsal' : config.model.defaultModel, own: false })
}

async function perform(request: RunRequest, { url, client }: { url: string; client: Client }, about: { setupMs: number; driver: string; model: string; own: boolean; rehearsalUrl?: string | null }): Promise<RunResult> {
  const { io, signal, spec, source } = request
  const startedMs = performance.now()
  const startedAt = Date.now()
  const mark = sessionMark(spec)
  const target = await untilReached(() => prepareTarget(client, source, io, signal), signal)
  const { session } = await untilReached(() => openSession(client, target, mark, spec, { ...request, io, signal }), signal)
  io.say(`"${spec.title}": ${spec.requirements} requirements; session ${session.id}, repository ${shownPath(target.path)}`)
  const end = await build({
    client, url, io, signal, yes: request.yes, projectId: target.projectId, sessionId: session.id, startedAt, ...(request.knownAnswer ? { knownAnswer: request.knownAnswer } : {}),
  })
  const facts = await readFacts(client, target, end)
  const proven = request.prove ? await request.prove(target, facts) : true
  const measured = summarise(facts, { ...about, repository: target.path, leaked: about.own ? 0 : facts.vms.filter(({ endedAt }) => endedAt === null).length, wallMs: performance.now() - startedMs })
  const summary: Summary = { ...measured, mainGreen: measured.mainGreen && proven }
  const offScript = about.rehearsalUrl ? await offScriptOf(about.rehearsalUrl) : []
  const complete = end.stuck === null && summary.mainGreen && offScript.length === 0
  const pushed = request.push && complete ? await untilReached(() => client.call(pushRepository, { params: { repositoryId: target.repository.id } }, { signal }), signal) : null

  const lines = [
    '', summaryTable(facts), '',
    `${summary.merged} of ${summary.tickets.length} tickets merged; main is ${summary.head.slice(0, 12)} and ${summary.mainGreen ? 'green' : 'NOT proven green'}; ${summary.gateFindings} gate findings; ${summary.vms.started} microVMs (${summary.vms.peak} at once); ${money(summary.costMicroUsd)}${about.model === 'rehearsal' ? ' (rehearsal: not real money)' : ''}; ${duration(summary.wallMs)}`,
    ...(end.stuck === null ? [] : [io.style('red', `Not complete: ${end.stuck}`)]),
    ...offScript.map((line) => io.style('red', `The rehearsal failed: ${line}`)),
    ...end.tickets.filter(({ state }) => state === 'on_hold' || state === 'failed').map((ticket) => `  ${ticket.id} (${ticket.title}) is ${ticket.state}: ${ticket.holdReason ?? 'see its attempts'}\n    look: swarm ticket show ${ticket.id}   again: swarm ticket retry ${ticket.id}`),
    ...(end.stuck !== null && about.own ? ['  These commands need the platform: "swarm start" first. Running the same command again goes on with this session.'] : []),
    pushed ? `Pushed to ${pushed.origin}.` : `To have it: git pull ${target.path} ${target.repository.defaultBranch}${request.push ? '   (not pushed: it is not complete)' : ''}`,
  ]
  const text = lines.join('\n')
  if (io.json) for (const line of lines.slice(3)) io.say(line)
  return { summary, text, exitCode: complete ? EXIT.ok : EXIT.failed }
}

const RehearsalStatus = z.object({ unmet: z.array(z.object({ place: z.string(), missing: z.array(z.string()) })), unmatched: z.array(z.string()) })

/** What the model was asked that its script does not have, or expected otherwise: such a run proves nothing. */
async function offScriptOf(url: string): Promise<string[]> {
  const { unmet, unmatched } = RehearsalStatus.parse(await (await patientFetch(`${url}/rehearsal/status`)).json())
  return [...unmet.map(({ place, missing }) => `${place} expected ${missing.join(', ')}`), ...unmatched.map((call) => `no turn of the script answers ${call}`)]
}

/** @throws DomainError model_not_configured, with both remedies */
function modelLabel(config: Config, rehearsal: boolean): string {
  if (rehearsal) return 'rehearsal'
  const { provider, apiKey, baseUrl } = config.model
  if (apiKey !== undefined) return provider === 'auto' ? 'anthropic' : provider
  if (baseUrl !== undefined && provider !== 'anthropic') return provider === 'auto' ? 'rehearsal' : provider
  throw new DomainError('model_not_configured')
}

/** Before real money is spent: the ceiling is said, and somebody agrees. */
async function agreeOnCost({ io, yes, agreed: before = yes, maxCostMicroUsd, signal }: RunRequest, label: string): Promise<void> {
  if (label === 'rehearsal' || before) return
  const ceiling = `This run may spend up to ${money(maxCostMicroUsd)} on ${label} (--max-cost changes that)`
  if (!io.interactive) throw new UserError('cost_not_confirmed', `${ceiling}, and nobody is here to agree.`, 'Say --yes to agree, run it in a terminal, or rehearse with --rehearsal FILE, which costs nothing.')
  const agreed = await confirm({ message: `${ceiling}. Go on?`, output: process.stderr, signal })
  if (isCancel(agreed) || !agreed) throw new Interrupted('SIGINT')
}
