import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { boundedLog } from '@swarm/contract/log-file.ts'
import { isAlive, ownIdentity } from '../host/processes.ts'
import type { BuildProgress } from './image.ts'
import { readJson } from './read-json.ts'
import { CACHE_KINDS, type CacheKind } from './uses.ts'

/** A log that is larger begins anew, once, with what was there kept beside it: its end is what explains a failure. */
const LOG_BOUNDS = { maxBytes: 1024 ** 2, files: 1 }
/** Records of builds whose image or layer is not there any more, failed ones among them: the newest so many are kept. */
const KEPT_WITHOUT_RESULT = 20

const Stored = z.object({
  what: z.enum(CACHE_KINDS),
  /** In words: the packages of an image, the command of a layer. */
  about: z.string(),
  startedAtMs: z.number(),
  endedAtMs: z.number().nullable(),
  /** Key of what came of it; null when it failed. */
  key: z.string().nullable(),
  problem: z.string().nullable(),
  owner: z.object({ pid: z.number(), startTicks: z.number() }),
})
type Stored = z.infer<typeof Stored>

/** One build of an image or a layer, as it is kept with its log under `images/builds/<id>`. */
export interface BuildRecord extends Omit<Stored, 'owner'> {
  readonly id: string
  /** `ended`: by a kill, before it said how. */
  readonly outcome: 'running' | 'built' | 'failed' | 'ended'
  /** The newest part of its log. */
  readonly log: string
}

/** What a build says while it goes on: progress for whoever waits, everything for its log. */
export interface Build {
  readonly id: string
  readonly logPath: string
  readonly progress: (progress: BuildProgress) => void
  readonly log: (text: string) => void
  /** Ends its tools. */
  readonly signal?: AbortSignal
}

/** Without user and password of addresses: apt's sources and proxies may hold some. */
export const redacted = (text: string): string => text.replaceAll(/:\/\/[^/@\s]+@/g, '://…@')

const buildsFolder = (cache: string) => join(cache, 'images', 'builds')

/** Carries out a build under a record with a log. @param keyOf the key of the image or layer that came of it */
export async function recordBuild<Result>(cache: string, what: CacheKind, about: string, onProgress: (progress: BuildProgress) => void, work: (build: Build) => Promise<Result>, keyOf: (result: Result) => string): Promise<Result> {
  const startedAtMs = Date.now()
  const id = `${new Date(startedAtMs).toISOString().replace(/\D/g, '').slice(0, 14)}-${randomBytes(3).toString('hex')}`
  const folder = join(buildsFolder(cache), id)
  mkdirSync(folder, { recursive: true })
  const store = (changed: Partial<Stored>) => {
    const record: Stored = { what, about, startedAtMs, endedAtMs: null, key: null, problem: null, owner: ownIdentity(), ...changed }
    writeFileSync(join(folder, 'build.json.new'), JSON.stringify(record))
    renameSync(join(folder, 'build.json.new'), join(folder, 'build.json'))
  }
  store({})
  const logPath = join(folder, 'log')
  const file = boundedLog(logPath, LOG_BOUNDS)
  const log = (text: string) => { if (text !== '') file.write(redacted(text.endsWith('\n') ? text : `${text}\n`)) }
  log(`# ${what}: ${about}`)
  try {
    const result = await work({ id, logPath, log, progress(progress) { log(`# ${progress.phase}: ${progress.detail}`); onProgress(progress) } })
    log(`# built ${keyOf(result)} in ${Date.now() - startedAtMs} ms`)
    store({ endedAtMs: Date.now(), key: keyOf(result) })
    return result
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error)
    log(`# failed: ${problem}`)
    store({ endedAtMs: Date.now(), problem: problem.slice(0, 2_000) })
    throw error
  } finally {
    file.close()
  }
}

/** Every build that is kept, newest first. */
export function listBuilds(cache: string): BuildRecord[] {
  const folder = buildsFolder(cache)
  if (!existsSync(folder)) return []
  return readdirSync(folder).sort().reverse().flatMap((id) => {
    const record = readJson(join(folder, id, 'build.json'), Stored)
    if (record === null) return []
    const { owner, ...stored } = record
    const outcome = stored.key !== null ? 'built' as const : stored.problem !== null ? 'failed' as const : isAlive(owner) ? 'running' as const : 'ended' as const
    return [{ id, ...stored, outcome, log: join(folder, id, 'log') }]
  })
}

/** The text of a build's log, the part that was set aside first. */
export function readBuildLog(build: BuildRecord): string {
  return [`${build.log}.1`, build.log].filter((path) => existsSync(path)).map((path) => readFileSync(path, 'utf8')).join('')
}

/** Removes the oldest records of builds of which nothing is left, and those that cannot be read. @param alive whether the image or layer of this key is still there */
export function pruneBuilds(cache: string, alive: (what: CacheKind, key: string) => boolean): void {
  const without = listBuilds(cache).filter(({ outcome, what, key }) => outcome !== 'running' && !(key !== null && alive(what, key)))
  for (const { id } of without.slice(KEPT_WITHOUT_RESULT)) rmSync(join(buildsFolder(cache), id), { recursive: true, force: true })
  const folder = buildsFolder(cache)
  for (const id of existsSync(folder) ? readdirSync(folder) : []) {
    const path = join(folder, id, 'build.json')
    // One without a record is just being begun.
    if (existsSync(path) && readJson(path, Stored) === null) rmSync(join(folder, id), { recursive: true, force: true })
  }
}

