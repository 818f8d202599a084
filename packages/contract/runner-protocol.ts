import { z } from 'zod'
import { AgentEvent, AgentTask } from './agent-protocol.ts'
import { endpoint } from './endpoint.ts'
import { Injection } from './injection.ts'

/*
 * The runner dials out to the server and holds `POST /claim` open (long poll, ended by the server when work is there).
 * Two kinds of work: an *attempt* (an agent works on a ticket in a microVM) and a *check* (the checks of one commit in a
 * clean microVM). Each is held under a lease, and every write about it carries its fence; a write with a fence that is no
 * longer current gets 409 stale_fence and changes nothing. All calls may be repeated: same input, same answer.
 *
 *   attempt: provision → workspace → agent → publish, then /complete (the server gates, queues the check, opens the change)
 *            and meanwhile checkpoints: the work so far on the attempt's own ref, journaled by /status
 *   check:   provision → workspace → checks, then /complete with the results
 */

export const FAILURE_CLASSES = ['infrastructure', 'model', 'agent', 'checks', 'policy', 'budget', 'conflict'] as const
export const FailureClass = z.enum(FAILURE_CLASSES)
export type FailureClass = z.infer<typeof FailureClass>

export const VmLimits = z.object({
  /** Cores. */
  cpu: z.number().positive(),
  memoryMb: z.number().int().positive(),
  diskMb: z.number().int().positive(),
  /** Wall clock of the work in minutes. */
  minutes: z.number().positive(),
  egressBytes: z.number().int().positive(),
  pids: z.number().int().positive(),
  /** stdout and stderr together of one command of the work (the agent's program, a check); what is beyond is thrown away. */
  outputBytes: z.number().int().positive(),
})
export type VmLimits = z.infer<typeof VmLimits>

/**
 * Limits as a project, an agent or a host states them: at least what a guest can be of use with (the supervisor alone is 20 processes,
 * and a guest of 128 MB runs git and Node), at most what no host has.
 */
export const StatedVmLimits = z.strictObject({
  cpu: z.number().min(0.05).max(256), memoryMb: z.number().int().min(128).max(1_048_576), diskMb: z.number().int().min(64).max(1_048_576), minutes: z.number().min(0.1).max(10_080),
  egressBytes: VmLimits.shape.egressBytes, pids: z.number().int().min(64).max(100_000), outputBytes: z.number().int().min(1_024),
}).partial()

/** What a microVM uses on its host, as its runner measured it last. */
export const VmUsage = z.object({
  vmId: z.string().max(64),
  /** CPU time since it was started, ms. */
  cpuMs: z.number().int().min(0),
  /** Resident and proportional memory of its VMM (clones share the pages of their template). */
  rssBytes: z.number().int().min(0), pssBytes: z.number().int().min(0),
  /** What its scratch disk takes on the host. */
  scratchBytes: z.number().int().min(0),
  /** Bytes that left it by forwards, and how many of those are open. */
  egressBytes: z.number().int().min(0), openForwards: z.number().int().min(0),
  uptimeMs: z.number().int().min(0),
  paused: z.boolean(),
})
export type VmUsage = z.infer<typeof VmUsage>

/** Why a microVM ended, as its runner says it; what else the server finds out or is told counts as lost. */
export const VM_END_REASONS = ['disposed', 'killed', 'wall_clock', 'crashed', 'protocol_violation', 'stuck', 'restore failed'] as const
export type VmEndReason = (typeof VM_END_REASONS)[number]

/** MicroVMs that one heartbeat tells the usage of at most. */
export const MAX_USAGE = 1_000

/** What a microVM was given. */
export const VmSize = z.object({ vcpus: z.number().int().positive(), memoryMb: z.number().int().positive(), scratchMb: z.number().int().positive() })
/** What it is held to on its host; absent: not limited. */
export const VmHeldTo = z.object({ cpuShare: z.number().positive(), pids: z.number().int().positive(), wallMs: z.number().int().positive(), egressBytes: z.number().int().positive() }).partial()

/** Of an agent's program, where nobody says otherwise: far more than any needs, and an outcome behind less is never lost. */
export const DEFAULT_OUTPUT_BYTES = 1024 ** 3

/** Text that came out of a microVM. PostgreSQL holds no NUL, and nobody can read one. */
const Text = z.string().overwrite((text) => text.replaceAll('\0', '\uFFFD'))
const Commit = z.string().regex(/^[0-9a-f]{40}$/)

/** What a repository adds to the image. `content` is base64, `mode` the permission bits. */
export const ImageExtras = z.object({
  packages: z.array(z.string()), npm: z.array(z.string()),
  files: z.array(z.object({ path: z.string(), mode: z.number().int(), content: z.string() })).default([]),
})

const Lease = z.object({
  fence: z.number().int(),
  leaseTtlMs: z.number().int(),
  beatMs: z.number().int(),
  /** Bearer token of this work, for /git and /model only; the runner adds it at its egress proxy, it never enters the VM. */
  token: z.string(),
  correlationId: z.string(),
  projectSlug: z.string(),
  repositorySlug: z.string(),
  /** The tightest of what agent, repository and project state; the host's own ceilings are the runner's to add. */
  limits: VmLimits.extend({ outputBytes: VmLimits.shape.outputBytes.default(DEFAULT_OUTPUT_BYTES) }),
  egressAllow: z.array(z.string()),
  image: ImageExtras,
  /** Command to run once in the workspace before the work (the `setup` check), or null. */
  setup: z.string().nullable(),
  /** What the setup command reads, when that is known: then its result may come from a layer. Null: it is run here. */
  layer: z.object({
    /** SHA-256 (hex) over paths, modes and contents of these files in the commit that the work starts from. */
    inputs: z.string(),
    paths: z.array(z.string()).max(500),
    /** Whether main has the same, so that a layer may be made of them; else one that is there is used. */
    make: z.boolean(),
  }).nullable().default(null),
  /** Whether its project has secrets for hosts: then they are asked for by workSecrets. */
  secrets: z.boolean().optional(),
})

export const AttemptWork = Lease.extend({
  kind: z.literal('attempt'),
  attemptId: z.string(),
  attemptNumber: z.number().int(),
  ticketId: z.string(),
  /** Commit on the default branch that this attempt is based on. */
  baseSha: z.string(),
  /** Commit to start from: the ticket's branch or an earlier attempt's work, else baseSha. Fetched as refs/swarm/attempts/<attempt>/start. */
  startSha: z.string(),
  agentName: z.string(),
  /** How often the work in progress is pushed and journaled while the agent works, ms. */
  checkpointMs: z.number().int().positive(),
  task: AgentTask.omit({ workspace: true, modelBaseUrl: true }),
})
export const CheckWork = Lease.extend({
  kind: z.literal('check'),
  checkId: z.string(),
  /** Fetched as refs/swarm/checks/<check>. */
  commitSha: z.string(),
  checks: z.array(z.object({ name: z.string(), command: z.string() })),
})
export const Work = z.discriminatedUnion('kind', [AttemptWork, CheckWork])
export type AttemptWork = z.infer<typeof AttemptWork>
export type CheckWork = z.infer<typeof CheckWork>
export type Work = z.infer<typeof Work>

export const CheckResult = z.object({
  name: z.string(), command: z.string(), exitCode: z.number().int().nullable(), timedOut: z.boolean(), wallMs: z.number(),
  /** Last part of stdout and stderr together, at most 64 KiB. */
  output: z.string(),
})
export type CheckResult = z.infer<typeof CheckResult>

const WorkKey = z.object({ kind: z.enum(['attempt', 'check']), id: z.string(), fence: z.number().int() })
export type WorkKey = z.infer<typeof WorkKey>

export const registerRunner = endpoint({
  method: 'POST', path: '/api/runners', shownOnce: true, access: ['person'], action: 'runner:register', on: 'installation', tag: 'runners', status: 201,
  summary: 'Registers a runner host, or renews the token of the runner with this name',
  body: z.object({ name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/) }),
  response: z.object({ id: z.string(), name: z.string(), token: z.string() }),
})

export const claim = endpoint({
  method: 'POST', path: '/claim', access: ['runner'], tag: 'runner protocol',
  summary: 'Waits for work and takes it under a lease',
  body: z.object({
    /** How long to hold the request when there is nothing, ms; at most 30,000. */
    waitMs: z.number().int().min(0).max(30_000),
    /** Which kinds this runner has room for now. */
    kinds: z.array(z.enum(['attempt', 'check'])).min(1),
    driver: z.string(), isolates: z.boolean(), capacity: z.number().int().positive(),
    /** Made anew at each start of the runner process: what an earlier process held is taken back at the first claim of a new one. */
    bootId: z.string().min(8).max(64),
    /** Same key, same answer, while that work is held: a lost response does not lose work. */
    claimKey: z.string().min(8).max(64),
  }),
  response: z.object({ work: Work.nullable() }),
})

/**
 * How work must stop. `lost`: its lease is gone, at once and without a word more about it; `stalled`: its agent makes no
 * progress, the work is saved and the attempt fails; `stopped`: somebody stops it, the work is saved and given back.
 */
export const StopCode = z.enum(['lost', 'stalled', 'stopped'])
/** What must stop: the code decides what is done; the reason is for people, and may be words of a person. */
export const Stop = z.object({ id: z.string(), code: StopCode, reason: z.string() })
export type Stop = z.infer<typeof Stop>

/** What coming work starts from, by a digest over it. */
export const Upcoming = z.object({ digest: z.string(), image: ImageExtras, memoryMb: z.number().int().positive(), diskMb: z.number().int().positive() })
export type Upcoming = z.infer<typeof Upcoming>

export const upcoming = endpoint({
  method: 'POST', path: '/upcoming', access: ['runner'], tag: 'runner protocol',
  summary: 'Says which images and sizes open tickets will start from, as main is now, so that a runner has them made before the work comes',
  body: z.object({
    /** Digests that this runner has made or tried: they are not told again. */
    known: z.array(z.string()).max(1_000),
  }),
  response: z.object({ items: z.array(Upcoming) }),
})

/** A secret as a runner gets it: for the egress proxies of this work alone, in memory alone, until the work ends. */
export const BoundSecret = z.object({ id: z.string(), hosts: z.array(z.string()), injection: Injection, value: z.string() })
export type BoundSecret = z.infer<typeof BoundSecret>

export const workSecrets = endpoint({
  method: 'POST', path: '/secrets', access: ['runner'], tag: 'runner protocol',
  summary: 'Gives the secrets of the project of work that this runner holds, for its egress proxy',
  body: WorkKey, response: z.object({ secrets: z.array(BoundSecret) }),
})

export const heartbeat = endpoint({
  method: 'POST', path: '/heartbeat', access: ['runner'], tag: 'runner protocol',
  summary: 'Says that the runner is alive and extends the leases of what it holds',
  body: z.object({
    /** As in /claim: a process that a newer one has replaced is refused. */
    bootId: z.string().min(8).max(64),
    holding: z.array(WorkKey.extend({
      vmId: z.string().nullable(),
      /** How long its agent has shown no progress (an event, or a model call in flight), ms; a duration, since clocks of hosts differ. Null: no agent runs. */
      idleMs: z.number().int().min(0).nullable(),
    })),
    /** Every microVM that the runner has now: those recorded as alive and not named here are over. */
    vms: z.array(z.string()).max(10_000),
    /** What they use, as far as it was measured. */
    usage: z.array(VmUsage).max(MAX_USAGE).default([]),
    /** Why the host has room for no further microVM, in words; null while it has, or nobody asks. */
    noRoom: Text.max(300).nullable().default(null),
  }),
  response: z.object({ stop: z.array(Stop) }),
})

export const status = endpoint({
  method: 'POST', path: '/status', access: ['runner'], tag: 'runner protocol',
  summary: 'Journals a step, activity of the agent, refusals of the egress proxy, and microVMs',
  body: WorkKey.extend({
    /** Grows by one per report of this work and fence; a repeated report is ignored. */
    sequence: z.number().int().min(0),
    step: z.object({ name: z.string(), state: z.enum(['started', 'done', 'failed']), wallMs: z.number().optional(), detail: Text.optional() }).optional(),
    vm: z.object({ id: z.string(), state: z.enum(['starting', 'running', 'ended']), driver: z.string(), templateKey: z.string(), /** Of the guest image; null for a driver without one. */ imageDigest: z.string().nullable().default(null), restoreMs: z.number().optional(), endReason: Text.optional(),
      /** Why it ended, in words. */ endDetail: Text.max(2_000).optional(), size: VmSize.optional(), limits: VmHeldTo.optional(), /** Of one that ended: its last. */ usage: VmUsage.optional() }).optional(),
    activity: z.array(AgentEvent).max(200).default([]),
    egressRefusals: z.array(z.object({ host: z.string(), port: z.number().int(), code: z.string(), message: z.string() })).max(100).default([]),
    /** A checkpoint of an attempt: its work so far, pushed to the attempt's own ref. */
    wipSha: Commit.optional(),
    /** Secrets that went out with a request, each once a minute at most. */
    secretUses: z.array(z.string().max(64)).max(200).default([]),
  }),
  response: z.object({ recorded: z.boolean() }),
})

export const complete = endpoint({
  method: 'POST', path: '/complete', access: ['runner'], tag: 'runner protocol',
  summary: 'Hands in finished work: the pushed head of an attempt, or the results of a check',
  body: z.discriminatedUnion('kind', [
    WorkKey.extend({ kind: z.literal('attempt'), headSha: Commit, summary: Text.max(20_000) }),
    WorkKey.extend({ kind: z.literal('check'), results: z.array(CheckResult), passed: z.boolean() }),
  ]),
  response: z.object({ accepted: z.literal(true) }),
})

export const fail = endpoint({
  method: 'POST', path: '/fail', access: ['runner'], tag: 'runner protocol',
  summary: 'Reports that the work ended without a result',
  body: WorkKey.extend({
    failureClass: FailureClass, reason: Text.max(200), message: Text.max(20_000),
    /** Pushed work in progress, if any. */
    wipSha: Commit.nullable(),
  }),
  response: z.object({ accepted: z.literal(true) }),
})

export const release = endpoint({
  method: 'POST', path: '/release', access: ['runner'], tag: 'runner protocol',
  summary: 'Gives work back without blame: parked on a question, or the runner stops',
  body: WorkKey.extend({
    reason: z.enum(['question', 'shutdown']),
    wipSha: Commit.nullable(),
    question: z.object({ text: Text, options: z.array(Text), toolUseId: z.string(), transcript: z.array(z.unknown()) }).optional(),
  }),
  response: z.object({ accepted: z.literal(true) }),
})

