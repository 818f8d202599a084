import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { AttemptFact, RepositoryFact, TicketFact } from '@swarm/core/integrity/facts.ts'
import { git } from '@swarm/git/run.ts'
import { readRef, repositoryPath } from '../../integrations/builtin-code-host/bare.ts'
import type { Place } from './queries.ts'

/** What main was: read before the database, which then knows more of it and not less. */
export type MainFacts = Pick<RepositoryFact, 'id' | 'branch' | 'main' | 'mainLog' | 'fetched' | 'trees'>

interface Move { readonly from: string; readonly to: string; readonly at: number; readonly message: string }

/** The moves of a ref, oldest first; none when it has no reflog. (`git reflog` leaves out where a move came from.) */
async function movesOf(path: string, ref: string): Promise<Move[]> {
  const file = join(path, 'logs', ref)
  if (!existsSync(file)) return []
  return (await readFile(file, 'utf8')).split('\n').flatMap((line) => {
    const match = /^([0-9a-f]{40,64}) ([0-9a-f]{40,64}) [^\t]* (\d+) [+-]\d{4}(?:\t(.*))?$/.exec(line)
    return match ? [{ from: match[1] ?? '', to: match[2] ?? '', at: Number(match[3]) * 1_000, message: match[4] ?? '' }] : []
  })
}

export async function readMain(root: string, place: Place): Promise<MainFacts> {
  const path = repositoryPath(root, place.projectSlug, place.slug)
  const ref = `refs/heads/${place.branch}`
  // The ref after its record: whoever moves it writes both under one lock, and a later move is not missed.
  for (let tries = 0; ; tries++) {
    const mainLog = (await movesOf(path, ref)).map(({ from, to, at }) => ({ from, to, at }))
    const main = existsSync(path) ? await readRef(path, ref) : null
    if (main !== (mainLog.at(-1)?.to ?? null) && tries < 5) continue
    // Where a fetch put the origin's branch; what we pushed there moves the same ref under our own name.
    const fetched = new Set((await movesOf(path, `refs/swarm/origin/${place.branch}`)).filter(({ message }) => message !== 'swarm').map(({ to }) => to))
    return { id: place.id, branch: place.branch, main, mainLog, fetched, trees: await treesOf(path, [...new Set(mainLog.map(({ to }) => to))]) }
  }
}

/** Trees of those commits that exist. */
async function treesOf(path: string, commits: readonly string[]): Promise<Map<string, string>> {
  const trees = new Map<string, string>()
  if (commits.length === 0 || !existsSync(path)) return trees
  const { stdout } = await git(path, ['cat-file', '--batch-check=%(objecttype) %(objectname)'], { input: commits.map((sha) => `${sha}^{tree}\n`).join('') })
  stdout.trim().split('\n').forEach((line, index) => {
    const [type, tree] = line.split(' ')
    const commit = commits[index]
    if (type === 'tree' && tree !== undefined && commit !== undefined) trees.set(commit, tree)
  })
  return trees
}

/** Branches and attempts' refs: read after the database, since work is pushed before it is recorded. */
export async function readRefs(root: string, place: Place, tickets: ReadonlyMap<string, TicketFact>, attempts: readonly AttemptFact[]): Promise<Pick<RepositoryFact, 'refs' | 'unreachable'>> {
  const path = repositoryPath(root, place.projectSlug, place.slug)
  const refs = new Map<string, string>()
  if (!existsSync(path)) return { refs, unreachable: new Map() }
  const { stdout } = await git(path, ['for-each-ref', '--format=%(refname) %(objectname)', 'refs/heads/swarm/', 'refs/swarm/attempts/'])
  for (const line of stdout.split('\n')) {
    const [ref, sha] = line.split(' ')
    if (ref !== undefined && ref !== '' && sha !== undefined) refs.set(ref, sha)
  }
  const own = new Map<string, string[]>()
  for (const [ref, sha] of refs) {
    const attempt = /^refs\/swarm\/attempts\/([^/]+)\//.exec(ref)?.[1]
    if (attempt !== undefined) own.set(attempt, [...own.get(attempt) ?? [], sha])
  }
  const unreachable = new Map<string, readonly string[]>()
  for (const attempt of attempts) {
    if (attempt.state === 'running' || tickets.get(attempt.ticketId)?.repositoryId !== place.id) continue
    // What was handed in is the last state of the work; checkpoints before it are in the ref's log.
    const last = attempt.headSha ?? attempt.wipSha
    if (last === null || await contains(path, own.get(attempt.id) ?? [], last)) continue
    // A checkpoint that a later one replaced before its runner could say so is in the log of the ref.
    if (attempt.headSha !== null || !await wasHeld(path, `refs/swarm/attempts/${attempt.id}/work`, last)) unreachable.set(attempt.id, [last])
  }
  return { refs, unreachable }
}

/** Whether the ref was ever at this commit, by its log. */
async function wasHeld(path: string, ref: string, sha: string): Promise<boolean> {
  const log = await git(path, ['reflog', 'show', '--format=%H', ref], { okCodes: [0, 128] })
  return log.code === 0 && log.stdout.split('\n').includes(sha)
}

/** Whether one of the tips is this commit or has it in its history. */
async function contains(path: string, tips: readonly string[], sha: string): Promise<boolean> {
  if (tips.includes(sha)) return true
  for (const tip of tips) if ((await git(path, ['merge-base', '--is-ancestor', sha, tip], { okCodes: [0, 1, 128] })).code === 0) return true
  return false
}
