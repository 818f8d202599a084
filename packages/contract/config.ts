import type { ModelPrice } from '@swarm/core/budgets/prices.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { Secret } from '@swarm/core/secret.ts'
import { z } from 'zod'
import { StatedVmLimits } from './runner-protocol.ts'

/*
 * Every setting of Swarm, once: its shape, default, environment variables and meaning. `resolveSettings` reads them from
 * (in this order) arguments, environment, <home>/config.yml and defaults, and says for each where it came from.
 */

interface SettingInfo {
  /** Environment variables that set it, first one wins. */
  readonly env: readonly string[]
  readonly description: string
  /** How an environment variable's text becomes the value; text as it is unless given. */
  readonly read?: (text: string) => unknown
}
const infos = z.registry<SettingInfo>()

function setting<S extends z.ZodType>(schema: S, env: string | readonly string[], description: string, read?: (text: string) => unknown): S {
  infos.add(schema, { env: [env].flat(), description, ...(read ? { read } : {}) })
  return schema
}

const number = (text: string): unknown => text.trim() === '' ? text : Number(text)
const list = (text: string): unknown => text.split(',').map((each) => each.trim()).filter((each) => each !== '')
const json = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
// A function: the registry knows a setting by its schema, so no two settings may share one.
const secret = () => z.string().min(1).transform((value) => new Secret(value)).optional()
const positive = z.number().int().positive()
const Cidr = z.union([z.cidrv4(), z.cidrv6()])

const usd = z.number().positive().max(100_000)
const rates = { input: usd, output: usd, cacheRead: usd, cacheWrite5m: usd.optional(), cacheWrite1h: usd.optional() }
/** Dollars per million tokens, as price lists have them, to whole micro-dollars. Cache writes cost 1.25 and 2 times the input unless given. */
function microUsdRates(dollars: { input: number; output: number; cacheRead: number; cacheWrite5m?: number | undefined; cacheWrite1h?: number | undefined }): Omit<ModelPrice, 'from' | 'longPrompt'> {
  const { input, output, cacheRead, cacheWrite5m = input * 1.25, cacheWrite1h = input * 2 } = dollars
  const microUsd = (amount: number): number => Math.round(amount * 1_000_000)
  return { input: microUsd(input), output: microUsd(output), cacheRead: microUsd(cacheRead), cacheWrite5m: microUsd(cacheWrite5m), cacheWrite1h: microUsd(cacheWrite1h) }
}
/** One price of a model, from its date on (UTC); `longPrompt`: what the whole request costs once its input is above so many tokens. */
const Price = z.strictObject({ from: z.iso.date(), ...rates, longPrompt: z.strictObject({ aboveInputTokens: z.number().int().positive(), ...rates }).optional() })
  .transform(({ from, longPrompt, ...row }): ModelPrice => ({ from, ...microUsdRates(row), ...(longPrompt === undefined ? {} : { longPrompt: { aboveInputTokens: longPrompt.aboveInputTokens, ...microUsdRates(longPrompt) } }) }))
const Prices = z.record(z.string().min(1).max(200), z.array(Price).min(1).refine((rows) => new Set(rows.map((row) => row.from)).size === rows.length, 'two prices are from the same date'))

export const Settings = z.strictObject({
  home: setting(z.string().min(1), 'SWARM_HOME', 'Folder of all data'),
  cache: setting(z.string().min(1), 'SWARM_CACHE', 'Folder of what can be made again: images, templates, downloads'),
  host: setting(z.string().min(1).default('127.0.0.1'), 'SWARM_HOST', 'Address that the server listens on'),
  port: setting(z.number().int().min(0).max(65_535).default(8080), 'SWARM_PORT', 'Port that the server listens on; 0 = any free one', number),
  databaseUrl: setting(secret(), ['SWARM_DATABASE_URL', 'DATABASE_URL'], 'postgres://… ; SQLite in the home folder unless given'),
  publicUrl: setting(z.url({ protocol: /^https?$/ }).optional(), 'SWARM_PUBLIC_URL', 'Address under which people reach this server, for links in mails and sign-in; http://<host>:<port> unless given'),
  client: z.strictObject({
    server: setting(z.url({ protocol: /^https?$/ }).optional(), 'SWARM_SERVER', 'Server that commands talk to; the one that runs on this home folder unless given'),
    token: setting(secret(), 'SWARM_TOKEN', 'Token that commands use there: an API key or a session; what "swarm login" keeps unless given'),
  }).prefault({}),
  logLevel: setting(z.enum(['trace', 'debug', 'info', 'warn', 'error']).default('info'), 'SWARM_LOG_LEVEL', 'Least level that is logged'),
  logTo: setting(z.enum(['file', 'stdout']).default('file'), 'SWARM_LOG_TO', 'logs/server.log in the home folder, or standard output'),
  model: z.strictObject({
    provider: setting(z.enum(['auto', 'anthropic', 'rehearsal', 'compatible']).default('auto'), 'SWARM_MODEL_PROVIDER', 'Who answers model calls; auto = anthropic with a key, else rehearsal'),
    baseUrl: setting(z.url().optional(), ['SWARM_MODEL_BASE_URL', 'ANTHROPIC_BASE_URL'], 'Address of a Messages API; the provider\'s own unless given'),
    apiKey: setting(secret(), 'ANTHROPIC_API_KEY', 'Key of the model API; never enters a microVM'),
    prices: setting(Prices.default({}), 'SWARM_MODEL_PRICES', 'Prices beside the built-in ones, dollars per million tokens: {"<model>": [{"from": "<date>", "input", "output", "cacheRead"}]}', json),
    defaultModel: setting(z.string().min(1).default('claude-sonnet-5-5'), 'SWARM_MODEL', 'Model of agents that name none'),
  }).prefault({}),
  maxCostMicroUsd: setting(z.number().int().min(0).default(5_000_000), 'SWARM_MAX_COST_MICRO_USD', 'Ceiling of one run\'s model calls, micro-dollars', number),
  concurrency: setting(positive.max(1000).default(4), 'SWARM_CONCURRENCY', 'Attempts and checks at once on this host', number),
  lease: z.strictObject({
    ttlMs: setting(positive.default(30_000), 'SWARM_LEASE_TTL_MS', 'A runner that was silent for so long has lost its work, ms', number),
    beatMs: setting(positive.default(10_000), 'SWARM_LEASE_BEAT_MS', 'How often a runner reports, ms', number),
    checkpointMs: setting(positive.default(30_000), 'SWARM_LEASE_CHECKPOINT_MS', 'How often the work of an agent is pushed while it works, ms', number),
    // Longer than the longest command that an agent may run in silence (15 minutes).
    stallMs: setting(positive.default(1_200_000), 'SWARM_LEASE_STALL_MS', 'An agent without progress for so long is stopped, ms', number),
  }).prefault({}),
  approvals: z.strictObject({
    remindMinutes: setting(positive.optional(), 'SWARM_APPROVALS_REMIND_MINUTES', 'People are reminded of an approval after so long, instead of the time of its kind (docs/approvals.md)', number),
    escalateMinutes: setting(positive.optional(), 'SWARM_APPROVALS_ESCALATE_MINUTES', 'An approval goes to administrators besides after so long', number),
    expireMinutes: setting(positive.optional(), 'SWARM_APPROVALS_EXPIRE_MINUTES', 'An approval that nobody decided lapses after so long', number),
  }).prefault({}),
  merge: z.strictObject({
    batch: setting(positive.max(64).default(8), 'SWARM_MERGE_BATCH', 'Approved changes of a repository that are checked and merged together at most; 1 = one after the other', number),
  }).prefault({}),
  egress: z.strictObject({
    exemptions: setting(z.array(z.strictObject({ host: z.string().min(1), cidr: Cidr })).default([]), 'SWARM_EGRESS_EXEMPTIONS', 'Exact hosts that may resolve into a private range: [{"host","cidr"}]', json),
  }).prefault({}),
  secrets: z.strictObject({
    keys: setting(secret(), 'SWARM_SECRETS_KEYS', 'Keys that secrets are kept under, base64 of 32 bytes each, the one for new secrets first; the folder keys/secrets of the home folder unless given'),
    keyCommand: setting(z.array(z.string().min(1)).min(1).max(50).optional(), 'SWARM_SECRETS_KEY_COMMAND', 'Program, with its arguments, that prints these keys: ["gopass","show","-o","swarm"]', json),
  }).prefault({}),
  upstreamProxy: setting(z.url().optional(), ['SWARM_UPSTREAM_PROXY', 'HTTPS_PROXY', 'https_proxy'], 'Proxy that outgoing requests of the host go through'),
  caFile: setting(z.string().min(1).optional(), ['SWARM_CA_FILE', 'NODE_EXTRA_CA_CERTS'], 'PEM file of certificate authorities to trust besides the system\'s'),
  trustedProxies: setting(z.array(z.union([z.ipv4(), z.ipv6(), Cidr])).default([]), 'SWARM_TRUSTED_PROXIES', 'Addresses of front proxies whose X-Forwarded-* is believed', list),
  http: z.strictObject({
    bodyLimitBytes: setting(positive.default(1_048_576), 'SWARM_BODY_LIMIT_BYTES', 'Largest request body where an endpoint says nothing else', number),
    closeDeadlineMs: setting(positive.default(10_000), 'SWARM_CLOSE_DEADLINE_MS', 'Requests that still run so long after the stop are cut, ms', number),
    ratePerMinute: z.strictObject({
      anonymous: setting(positive.default(300), 'SWARM_RATE_ANONYMOUS', 'Requests a minute of one address without credentials', number),
      admin: setting(positive.default(1_200), 'SWARM_RATE_ADMIN', 'Requests a minute of one admin token', number),
      runner: setting(positive.default(60_000), 'SWARM_RATE_RUNNER', 'Requests a minute of one runner', number),
      user: setting(positive.default(1_200), 'SWARM_RATE_USER', 'Requests a minute of one user, by sessions and API keys together, that only read', number),
      userWrite: setting(positive.default(300), 'SWARM_RATE_USER_WRITE', 'Requests a minute of one user that may change something', number),
      attempt: setting(positive.default(6_000), 'SWARM_RATE_ATTEMPT', 'Requests a minute of one attempt', number),
    }).prefault({}),
  }).prefault({}),
  accounts: z.strictObject({
    registration: setting(z.enum(['open', 'invite', 'closed']).default('invite'), 'SWARM_REGISTRATION', 'Who gets an account: open = whoever reads mail at the address given, invite = who is invited, closed = nobody'),
    sessionDays: setting(positive.max(365).default(14), 'SWARM_SESSION_DAYS', 'A session ends when it was not used for so many days', number),
    secret: setting(z.string().min(32).transform((value) => new Secret(value)).optional(), 'SWARM_ACCOUNTS_SECRET', 'What cookies and second factors are protected with; made into keys/accounts of the home folder unless given (replicas share one)'),
    github: z.strictObject({
      clientId: setting(z.string().min(1).optional(), 'SWARM_GITHUB_CLIENT_ID', 'OAuth app that people sign in with; without it there is no sign-in with GitHub'),
      clientSecret: setting(secret(), 'SWARM_GITHUB_CLIENT_SECRET', 'Secret of that app'),
      clientSecretFile: setting(z.string().min(1).optional(), 'SWARM_GITHUB_CLIENT_SECRET_FILE', 'File that holds it instead'),
      baseUrl: setting(z.url().default('https://github.com'), 'SWARM_GITHUB_BASE_URL', 'GitHub, or the address of a GitHub Enterprise Server'),
      apiUrl: setting(z.url().optional(), 'SWARM_GITHUB_API_URL', 'Its API; api.github.com, or <baseUrl>/api/v3, unless given'),
    }).prefault({}),
  }).prefault({}),
  mail: z.strictObject({
    smtpUrl: setting(secret(), 'SWARM_SMTP_URL', 'smtp(s)://user:password@host:port that mail is sent through; without it each mail is a file in <home>/outbox'),
    from: setting(z.string().min(3).max(200).default('Swarm <swarm@localhost>'), 'SWARM_MAIL_FROM', 'Sender of mails'),
  }).prefault({}),
  retention: z.strictObject({
    blobDays: setting(z.number().int().min(0).default(90), 'SWARM_RETENTION_BLOB_DAYS', 'Model calls, transcripts and outputs of ended work are kept so many days; 0 = for ever', number),
    blobMb: setting(z.number().int().min(0).default(0), 'SWARM_RETENTION_BLOB_MB', 'Size of all blobs above which the oldest of ended work go, MiB; 0 = no limit', number),
    refDays: setting(z.number().int().min(0).default(90), 'SWARM_RETENTION_REF_DAYS', 'Refs of attempts and checks of ended tickets are kept so many days; 0 = for ever', number),
    cacheMb: setting(z.number().int().min(0).default(20_480), 'SWARM_RETENTION_CACHE_MB', 'Size of all images and setup layers of a host above which the least recently used go, MiB; 0 = no limit', number),
    vmDays: setting(positive.max(3_650).default(7), 'SWARM_RETENTION_VM_DAYS', 'What microVMs used over time is kept so many days', number),
    logMb: setting(positive.default(50), 'SWARM_RETENTION_LOG_MB', 'Size at which a log file is set aside, MiB', number),
    logFiles: setting(z.number().int().min(0).max(100).default(5), 'SWARM_RETENTION_LOG_FILES', 'Log files set aside that are kept, of each log', number),
  }).prefault({}),
  vm: z.strictObject({
    driver: setting(z.enum(['auto', 'firecracker', 'qemu', 'process']).default('auto'), 'SWARM_VM_DRIVER', 'What runs microVMs; auto = Firecracker where it works, else QEMU; process isolates nothing and is for development only'),
    firecracker: setting(z.string().startsWith('/').optional(), 'SWARM_VM_FIRECRACKER', 'Absolute path of the program firecracker; the one on PATH unless given'),
    jailer: setting(z.string().startsWith('/').optional(), 'SWARM_VM_JAILER', 'Absolute path of the program jailer, of the same release; the one on PATH unless given'),
    uidFirst: setting(positive.max(4_000_000_000).default(1_900_000_000), 'SWARM_VM_UID_FIRST', 'First of the user and group ids that microVMs get, one each, where the runner is root; no account may have one of them', number),
    uidCount: setting(positive.max(100_000).default(1_000), 'SWARM_VM_UID_COUNT', 'How many such ids there are: microVMs on this host at most', number),
    diskMbPerS: setting(z.number().int().min(0).default(256), 'SWARM_VM_DISK_MB_PER_S', 'What each disk of a microVM may read and write, MiB a second; 0 = no limit; only Firecracker limits it', number),
    vcpus: setting(positive.max(64).default(1), 'SWARM_VM_VCPUS', 'Virtual CPUs of a microVM', number),
    memoryMb: setting(positive.min(128).default(1024), 'SWARM_VM_MEMORY_MB', 'Memory of a microVM, MiB', number),
    scratchMb: setting(positive.min(64).default(2048), 'SWARM_VM_SCRATCH_MB', 'Writable disk of a microVM, MiB', number),
    warm: setting(z.number().int().min(0).max(100).default(4), 'SWARM_VM_WARM', 'MicroVMs that wait for work at most; how many do follows the demand', number),
    ceilings: setting(StatedVmLimits.default({}), 'SWARM_VM_CEILINGS', 'What a microVM of this host gets at most, whoever asks for more, as JSON: {"memoryMb": 4096, "cpu": 2}; also diskMb, minutes, egressBytes, pids, outputBytes', json),
    reserveMb: setting(z.number().int().min(0).default(512), 'SWARM_VM_RESERVE_MB', 'Memory of this host that microVMs leave free, MiB', number),
    reserveDiskMb: setting(z.number().int().min(0).default(1024), 'SWARM_VM_RESERVE_DISK_MB', 'Disk of this host that microVMs leave free, MiB', number),
    cpuOvercommit: setting(z.number().min(0.1).max(100).default(4), 'SWARM_VM_CPU_OVERCOMMIT', 'CPU time promised to microVMs for each core of this host: agents wait for their model most of the time', number),
  }).prefault({}),
})
export type Config = z.output<typeof Settings>

/** Where a value came from: `default`, `file`, `environment VARIABLE` or `argument`. */
export type Source = string

export interface Resolved {
  readonly config: Config
  /** By dotted path, e.g. `lease.ttlMs`. */
  readonly sources: Readonly<Record<string, Source>>
}

export interface SettingsInput {
  readonly env: Readonly<Record<string, string | undefined>>
  /** The parsed content of config.yml, or undefined when there is none. */
  readonly file?: unknown
  readonly filePath?: string
  /** Values given on the command line, by dotted path. */
  readonly argv?: Readonly<Record<string, unknown>>
  /** The user's home folder. */
  readonly userFolder: string
}

interface Leaf { readonly path: string, readonly info: SettingInfo }

function leavesOf(schema: z.ZodType, prefix = ''): Leaf[] {
  const info = infos.get(schema)
  if (info) return [{ path: prefix, info }]
  const inner = schema instanceof z.ZodPrefault ? schema.unwrap() : schema
  if (!(inner instanceof z.ZodObject)) return []
  return Object.entries(inner.shape).flatMap(([key, value]) => leavesOf(value as z.ZodType, prefix === '' ? key : `${prefix}.${key}`))
}

/** Every setting: dotted path, environment variables, meaning. */
export const SETTINGS: readonly { readonly path: string, readonly env: readonly string[], readonly description: string }[] =
  leavesOf(Settings).map(({ path, info }) => ({ path, env: info.env, description: info.description }))

function getAt(value: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>((at, key) => typeof at === 'object' && at !== null ? (at as Record<string, unknown>)[key] : undefined, value)
}

/** A setting as people see it: never a secret, nor the user and password of an address. */
export interface DescribedSetting { readonly setting: string; readonly value: unknown; readonly source: Source; readonly environment: readonly string[]; readonly description: string }

/** Every setting with its value and where that came from. */
export function describeSettings({ config, sources }: Resolved): DescribedSetting[] {
  return SETTINGS.map(({ path, env, description }) => ({ setting: path, value: shown(getAt(config, path)), source: sources[path] ?? 'default', environment: env, description }))
}

function shown(value: unknown): unknown {
  if (value === undefined) return null
  // Through JSON, which is how a secret shows itself as one.
  if (typeof value !== 'string') return JSON.parse(JSON.stringify(value)) as unknown
  const url = URL.parse(value)
  if (url === null || (url.username === '' && url.password === '')) return value
  return Object.assign(url, { username: 'hidden', password: '' }).href
}

function setAt(target: Record<string, unknown>, path: string, value: unknown): void {
  const keys = path.split('.')
  const last = keys.pop() ?? ''
  let at = target
  for (const key of keys) {
    const next = at[key]
    at = at[key] = typeof next === 'object' && next !== null && !Array.isArray(next) ? next as Record<string, unknown> : {}
  }
  at[last] = value
}

/** The home folder that the settings name, needed before config.yml can be found in it. */
export function homeOf(input: Pick<SettingsInput, 'env' | 'argv' | 'userFolder'>): string {
  const given = input.argv?.['home'] ?? input.env['SWARM_HOME']
  return typeof given === 'string' && given !== '' ? given : `${input.userFolder}/.swarm`
}

/**
 * Puts the settings together.
 * @throws DomainError `config_invalid` naming the field, what is wrong with it, and where it was set
 */
export function resolveSettings(input: SettingsInput): Resolved {
  const file = input.file ?? {}
  const filePath = input.filePath ?? 'config.yml'
  if (typeof file !== 'object' || file === null || Array.isArray(file)) throw new DomainError('config_invalid', { field: '(all)', problem: 'it is not a mapping', source: filePath })
  const merged = structuredClone(file) as Record<string, unknown>
  const sources: Record<string, Source> = {}
  for (const { path, info } of leavesOf(Settings)) {
    const variable = info.env.find((name) => (input.env[name] ?? '') !== '')
    const argument = input.argv?.[path]
    if (argument !== undefined) {
      setAt(merged, path, argument)
      sources[path] = 'argument'
    } else if (variable !== undefined) {
      const text = input.env[variable] ?? ''
      setAt(merged, path, info.read ? info.read(text) : text)
      sources[path] = `environment ${variable}`
    } else if (getAt(merged, path) !== undefined) sources[path] = filePath
    else sources[path] = 'default'
  }
  if (merged['home'] === undefined) merged['home'] = homeOf(input)
  if (merged['cache'] === undefined) merged['cache'] = `${input.userFolder}/.cache/swarm`
  const result = Settings.safeParse(merged)
  if (result.success) return { config: result.data, sources }
  throw invalid(result.error, sources, filePath)
}

function invalid(error: z.ZodError, sources: Readonly<Record<string, Source>>, filePath: string): DomainError {
  const issue = error.issues[0]
  const unknown = issue?.code === 'unrecognized_keys' ? issue.keys[0] : undefined
  const path = [...issue?.path ?? [], ...(unknown === undefined ? [] : [unknown])].join('.')
  const source = Object.entries(sources).find(([known]) => path === known || path.startsWith(`${known}.`))?.[1] ?? filePath
  return new DomainError('config_invalid', { field: path, problem: unknown === undefined ? issue?.message : 'there is no such setting', source })
}
