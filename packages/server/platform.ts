import { join } from 'node:path'
import { DEFAULT_OUTPUT_BYTES, type VmLimits, type Work } from '@swarm/contract/runner-protocol.ts'
import { filesOfCommits } from '@swarm/git/history.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { mergePrices } from '@swarm/core/budgets/prices.ts'
import { analysisText } from '@swarm/core/design/analysis.ts'
import { agentAtWork, permitted } from './authorization/agents.ts'
import { RESOLVERS } from './authorization/resources.ts'
import type { Context } from './context.ts'
import { startCoordinator } from './coordinator/coordinator.ts'
import { createAccounts } from './features/accounts/accounts.ts'
import { ensureDefaultAgents, registerAgents } from './features/agents/agents.ts'
import { findAgent, listAgents, requireAgent } from './features/agents/service.ts'
import { registerApprovals } from './features/approvals/approvals.ts'
import { createApprovals } from './features/approvals/service.ts'
import { registerAudit } from './features/audit/audit.ts'
import { completionDuty } from './features/design/completion.ts'
import { createChanges } from './features/changes/changes.ts'
import { readRepositoryPlan, sealPlan } from './features/checks/plan.ts'
import { createWorkInputs } from './features/checks/work-inputs.ts'
import { failedOutput, readResults } from './features/checks/service.ts'
import { createChecks } from './features/checks/checks.ts'
import { parseSwarmYml } from './features/checks/swarm-yml.ts'
import { analyseCommit, baseCommit } from './features/design/repository.ts'
import { registerDesignRoutes } from './features/design/routes.ts'
import { createDesign } from './features/design/service.ts'
import { createEvidence } from './features/evidence/evidence.ts'
import { ensureSigningKey } from './features/evidence/keys.ts'
import { registerGit } from './features/git/routes.ts'
import { askOnBreach, breachDecided, type StoppedByBudget } from './features/model/breach.ts'
import { changingCeilings, registerBudgets, registerModelState } from './features/model/budgets.ts'
import { fixAttemptCeilings } from './features/model/ceilings.ts'
import { deadCallsDuty } from './features/model/dead-calls.ts'
import { createModelGateway } from './features/model/gateway.ts'
import { modelFacts } from './features/model/facts.ts'
import { createModelMetrics } from './features/model/model-metrics.ts'
import { providerOf } from './features/model/providers.ts'
import { addModelRoutes } from './features/model/routes.ts'
import { registerPolicies } from './features/policies/policies.ts'
import { registerProjects } from './features/projects/projects.ts'
import { changeProject, requireProject } from './features/projects/service.ts'
import { recorded, registerReplay } from './features/replay/replay.ts'
import { createReviews } from './features/reviews/reviews.ts'
import { createRepositories } from './features/repositories/repositories.ts'
import { retentionDuty } from './features/retention/retention.ts'
import { registerRunnerProtocol } from './features/runners/protocol.ts'
import { driversSeen } from './features/runners/administration.ts'
import { registerRunners } from './features/runners/runners.ts'
import { recordPause, recordVm, requireRunner, silentRunnersDuty } from './features/runners/service.ts'
import { createAttemptSource } from './features/tickets/attempt-source.ts'
import { projectOfHeldCheck } from './features/checks/source.ts'
import { createSecrets } from './features/secrets/secrets.ts'
import { registerSystem } from './features/system/system.ts'
import { createTicketCommands } from './features/tickets/commands.ts'
import { createReplan } from './features/tickets/replan.ts'
import { fileHistoryDuty } from './features/tickets/history-duty.ts'
import { leaseExpiryDuty, nextRetryAt, stalledAgentsDuty } from './features/tickets/lease-expiry.ts'
import { attemptReports, projectOfHeldAttempt } from './features/tickets/reports.ts'
import { registerTickets } from './features/tickets/tickets.ts'
import { upcomingWork } from './features/tickets/upcoming.ts'
import { registerUsage } from './features/usage/usage.ts'
import { registerViews } from './features/views/views.ts'
import { createVms } from './features/vms/vms.ts'
import { mintToken } from './http/tokens.ts'
import { keep } from './keep.ts'
import { treeOf } from './integrations/builtin-code-host/bare.ts'
import { resolveHost } from './integrations/builtin-code-host/origin-address.ts'
import type { WorkSource } from './ports.ts'
import { VERSION } from './version.ts'

/** Bytes that may leave one microVM, and processes in it, where nobody says otherwise. */
const DEFAULT_EGRESS_BYTES = 2 * 1024 ** 3
const DEFAULT_PIDS = 1024
/** What an agent is told about the repository at most; it can look for itself. */
const CONVENTIONS_CHARACTERS = 4_000
/** Largest pack of one push, bytes. */
const MAX_PUSH_BYTES = 256 * 1024 ** 2
/** Whose every project is until there are more organisations. */
/** Attempts at once over all projects and runners: runners themselves only take what they have room for. */
const MAX_ATTEMPTS = 1000

/**
 * Puts the features together: each is made here and handed what the others offer (ports.ts), so that none imports another.
 * What it returns stops the coordinator first, then what it drove.
 */
export async function startPlatform(context: Context): Promise<AsyncDisposable> {
  const { config, db, http, ids, clock, blobs, logger, metrics } = context
  await using started = new AsyncDisposableStack()
  const defaults: VmLimits = {
    cpu: config.vm.vcpus, memoryMb: config.vm.memoryMb, diskMb: config.vm.scratchMb, minutes: 30, egressBytes: DEFAULT_EGRESS_BYTES, pids: DEFAULT_PIDS, outputBytes: DEFAULT_OUTPUT_BYTES,
  }

  const accounts = await createAccounts(context)
  registerAgents(context)
  registerRunners(context)
  const vms = createVms(context, { recordPause, recordVm, bootOf: async (trx, id) => (await requireRunner(trx, id)).bootId, runnerName: async (id) => (await requireRunner(db.read, id)).name })
  await ensureDefaultAgents(context)
  const { remindMinutes, escalateMinutes, expireMinutes } = config.approvals
  const approvals = createApprovals({
    now: clock, makeId: ids,
    times: {
      ...(remindMinutes === undefined ? {} : { remindMs: remindMinutes * 60_000 }), ...(escalateMinutes === undefined ? {} : { escalateMs: escalateMinutes * 60_000 }),
      ...(expireMinutes === undefined ? {} : { expireMs: expireMinutes * 60_000 }),
    },
  })
  const approvalTimes = registerApprovals(context, approvals)
  registerPolicies(context)
  registerAudit(context)
  registerUsage(context)
  registerViews(context)

  const provider = providerOf(config.model)
  const gateway = started.use(createModelGateway({
    db, provider, log: logger, metrics: createModelMetrics(metrics.registry),
    keepBlob: async (bytes) => (await blobs.put(Buffer.from(bytes))).digest, onBreach: askOnBreach(approvals),
    prices: mergePrices(config.model.prices),
  }))
  // Before anything is reserved or served: what a killed process left open would hold ceilings that nobody uses.
  await gateway.settleDead()
  addModelRoutes(http, gateway, async (name) => (await requireProject(db.read, name)).id)

  registerModelState(http, provider.label, gateway)
  registerSystem(context, { provider: provider.label, drivers: () => driversSeen(db.read, clock()) })

  const ticketDeps = { now: clock, random: () => crypto.getRandomValues(new Uint32Array(1))[0]! / 2 ** 32, makeId: ids, modelFacts: modelFacts(gateway, clock) }
  const tickets = createTicketCommands(ticketDeps)

  const repositories = createRepositories(context, { root: join(config.home, 'repositories'), makeId: ids, now: clock, checkSwarmYml: (text) => { parseSwarmYml(text) }, origins: { exemptions: config.egress.exemptions, resolve: resolveHost } })
  registerGit(http, {
    read: db.read, now: clock, maxPushBytes: MAX_PUSH_BYTES,
    locate: async (project, slug) => {
      const repository = await repositories.findBySlugs(project, slug)
      return { id: repository.id, path: repositories.pathOf(repository) }
    },
  })

  const readPlan = keep(readRepositoryPlan, (path, base, change?: string) => `${path}\0${base}\0${change ?? ''}`)
  const conventions = keep(async (path: string, commit: string) => analysisText(await analyseCommit(path, commit), CONVENTIONS_CHARACTERS), (path, commit) => `${path}\0${commit}`)
  const workPlan = async (repositoryId: string, commit: string) => readPlan(repositories.pathOf(await repositories.find(repositoryId)), commit)
  const inputs = createWorkInputs({
    place: async (repositoryId) => {
      const repository = await repositories.find(repositoryId)
      return { path: repositories.pathOf(repository), main: (await repositories.head(repositoryId)).sha }
    },
  })
  const checks = createChecks(context, {
    inputs, now: clock, makeId: ids, leaseTtlMs: config.lease.ttlMs, beatMs: config.lease.beatMs, setRef: repositories.setRef,
    place: async (repositoryId) => {
      const repository = await repositories.find(repositoryId)
      return { projectSlug: repository.project_slug, repositorySlug: repository.slug, settings: (await requireProject(db.read, repository.project_id)).settings }
    },
  })

  const locate = async (id: string) => {
    const repository = await repositories.find(id)
    return { id: repository.id, slug: repository.slug, projectId: repository.project_id, path: repositories.pathOf(repository), defaultBranch: repository.default_branch }
  }
  const reviews = started.use(createReviews(http, {
    db, now: clock, makeId: ids, tickets, approvals, locate, model: config.model.defaultModel, servedBy: provider.label,
    ruleOf: async (read, projectId) => (await requireProject(read, projectId)).settings.review,
    mergePolicy: async (trx, { changeId, ticketId }) => {
      const resource = await RESOLVERS.change(trx, changeId)
      const ticket = await trx.selectFrom('tickets').select('agent_name').where('id', '=', ticketId).executeTakeFirst()
      if (resource?.projectId == null || resource.organizationId === null || !ticket) throw new DomainError('not_found', { kind: 'change', id: changeId })
      const agent = { kind: 'agent' as const, id: ticketId, name: ticket.agent_name, projectId: resource.projectId, organizationId: resource.organizationId }
      return context.authorization.decideFor(trx, agent, 'change:merge', resource)
    },
    mayMerge: async (principal, projectId) => {
      const project = await context.authorization.resolve('project:read', 'project', projectId)
      return (await context.authorization.decide(db.read, principal, 'approval:decide', { ...project, kind: 'approval', id: '*', about: 'merge' })).outcome === 'allow'
    },
    callModel: async (request, { signal, ...about }) => (await gateway.callModel({ ...request }, { kind: 'server', role: 'reviewer', ...about }, signal)).message,
    onError: (err, what) => { logger.error({ err }, what) },
  }))
  const changes = createChanges(http, {
    db, now: clock, makeId: ids, tickets, approvals, reviews: reviews.commands, locate, batchSize: config.merge.batch,
    checks: { enqueue: checks.queue.enqueue, cancel: checks.queue.cancel, readPlan, sealPlan, readResults, failedOutput },
  })

  const evidence = createEvidence(http, {
    db, blobs, home: config.home, now: clock, version: VERSION, key: await ensureSigningKey(db, config.home, clock()), treeOf, readResults, repository: locate, project: (id) => requireProject(db.read, id),
  })

  const design = started.use(createDesign({
    db, now: clock, makeId: ids, model: config.model.defaultModel, modelLabel: provider.label, approvals, tickets: { createMany: tickets.createMany, replan: createReplan(ticketDeps, tickets.createMany) }, defaultAgent: 'developer',
    concurrency: async (trx, projectId) => (await requireProject(trx, projectId)).settings.concurrency,
    callModel: async (request, about) => {
      const caller = { kind: 'server' as const, projectId: about.projectId, sessionId: about.sessionId, role: about.role, step: about.step, correlationId: about.correlationId }
      return (await gateway.callModel({ ...request }, caller, about.signal)).message
    },
    repository: locate,
    checks: async (repositoryId, commit) => (await workPlan(repositoryId, commit)).checks,
    agents: async () => (await listAgents(db.read)).map((agent) => agent.name),
    onError: (err, what) => { logger.error({ err }, what) },
  }))
  registerDesignRoutes(http, { db, design })
  const stopped: StoppedByBudget = {
    resumeTickets: tickets.resumeHeld, resumeDesign: design.resumeFailed,
    setProject: (trx, { projectId, patch, correlationId }) => changeProject(trx, projectId, { settings: patch }, correlationId),
  }
  approvals.onDecision('budget_breach', breachDecided(stopped))
  registerProjects(context, (trx, about, change) => changingCeilings(trx, { approvals, stopped }, { kind: 'project', id: about.projectId, ...about }, change))
  registerBudgets(http, { db, approvals, stopped, project: (name) => requireProject(db.read, name) })

  const agentDefinition = async (name: string, version: number) => (await requireAgent(db.read, name, version)).definition
  const replay = { db, blobs, now: clock, resolve: repositories.resolve, onFault: (err: unknown, what: string) => { logger.error({ err }, what) } }
  registerReplay(http, replay)
  const access = { ...repositories, head: async (id: string) => baseCommit(await locate(id)), workPlan: async (id: string, commit: string) => { const plan = await workPlan(id, commit); return { ...plan, limits: plan.stated } } }
  const attempts = recorded(createAttemptSource({
    ...ticketDeps, db, beatMs: config.lease.beatMs, checkpointMs: config.lease.checkpointMs, defaults,
    rules: {
      leaseTtlMs: config.lease.ttlMs, concurrency: MAX_ATTEMPTS,
      concurrencyOf: async (trx, projectId) => (await requireProject(trx, projectId)).settings.concurrency,
      agentVersion: async (trx, name) => {
        const agent = await findAgent(trx, name)
        return agent && { version: agent.version, minutes: agent.definition.limits.minutes ?? defaults.minutes }
      },
    },
    conventions: async (repositoryId, commit) => conventions((await locate(repositoryId)).path, commit),
    inputs, repositories: access,
    fixBudget: (attempt, { agentUsd, repositoryUsd }) => db.write((trx) => fixAttemptCeilings(trx, attempt, [agentUsd, repositoryUsd])),
    project: (id) => requireProject(db.read, id),
    repositorySlug: async (id) => (await repositories.find(id)).slug,
    agentDefinition,
    mintToken: async (input) => (await db.write((trx) => mintToken(trx, input))).token,
    readTranscript: async (digest) => JSON.parse((await blobs.get(digest)).toString('utf8')) as unknown[],
  }), replay)
  registerTickets(context, ticketDeps, tickets, {
    limits: { concurrency: MAX_ATTEMPTS, concurrencyOf: async (projectId) => (await requireProject(db.read, projectId)).settings.concurrency },
    offerAgain: changes.offerAgain,
    requireAgent: async (name) => {
      if (!await findAgent(db.read, name)) throw new DomainError('unknown_agent', { name })
    },
    requireProjectAndRepository: async (projectId, repositoryId) => {
      const [project, repository] = [await requireProject(db.read, projectId), await repositories.find(repositoryId)]
      if (repository.project_id !== project.id) throw new DomainError('not_found', { kind: 'repository', id: repositoryId })
      return { projectId: project.id, repositoryId: repository.id }
    },
  })
  const secrets = await createSecrets(context, {
    project: (name) => requireProject(db.read, name), organizationOf: async (read, projectId) => (await requireProject(read, projectId)).organizationId,
    mayUse: async (key, projectId, found) => permitted(context.authorization, db.read, await agentAtWork(db.read, key, await requireProject(db.read, projectId)), 'secret:use', found, ({ id, name }) => ({ id, name })),
    projectOfHeld: (read, runnerId, key) => (key.kind === 'attempt' ? projectOfHeldAttempt : projectOfHeldCheck)(read, runnerId, key, clock()),
  })
  /** The same work, whose allow-list has only what policies let its agent reach. */
  const withinPolicy = <W extends Work, S extends WorkSource<W>>(source: S & WorkSource<W>): S => ({
    ...source,
    describe: async (id: string, fence: number) => {
      const work = await source.describe(id, fence)
      const agent = await agentAtWork(db.read, { kind: work.kind, id }, await requireProject(db.read, work.projectSlug))
      return { ...work, egressAllow: await permitted(context.authorization, db.read, agent, 'egress:connect', work.egressAllow, (host) => ({ id: host, name: host })) }
    },
  })
  registerRunnerProtocol({
    http, db, now: clock, leaseTtlMs: config.lease.ttlMs, attempts: withinPolicy(secrets.announced(attempts)), attemptReports: attemptReports(ticketDeps), checks: withinPolicy(secrets.announced(checks.source)), secretsUsed: secrets.noteUses, aboutCheck: checks.about,
    upcoming: (known) => upcomingWork({ read: db.read, repositories: access, inputs, defaults, ceilings: async (id) => (await requireProject(db.read, (await locate(id)).projectId)).settings.vm, agent: async (name) => (await findAgent(db.read, name))?.definition ?? null }, known),
    recordUsage: vms.recordUsage, onVm: vms.metrics.moved,
    storeBlob: async (content) => (await blobs.put(content)).digest, nextRetryAt: () => nextRetryAt(db, clock()), onFault: (err, what) => { logger.error({ err }, what) },
  })

  started.use(startCoordinator([
    leaseExpiryDuty({ db, source: attempts, now: clock }), stalledAgentsDuty({ db, now: clock, stallMs: config.lease.stallMs, agentDefinition }),
    silentRunnersDuty({ db, now: clock, leaseTtlMs: config.lease.ttlMs, onVm: vms.metrics.moved }),
    fileHistoryDuty({
      db, readHistory: async (id, commits) => {
        const { path, defaultBranch } = await locate(id)
        return filesOfCommits(path, `refs/heads/${defaultBranch}`, commits)
      },
    }),
    approvalTimes, ...vms.duties, ...checks.duties, ...changes.duties, reviews.duty, completionDuty({ db, design }), ...accounts.duties, deadCallsDuty(gateway), evidence.duty,
    retentionDuty({
      db, blobs, now: clock, rules: config.retention, pathOf: ({ projectSlug, slug }) => repositories.pathOf({ project_slug: projectSlug, slug }),
      onRemoved: (removed) => { logger.info(removed, 'retention: removed what is old') },
    }),
  ], { wake: db.wake, logger, clock }))
  await design.resumeOpenSessions()
  return started.move()
}
