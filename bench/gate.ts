/**
 * How well the output gate tells ordinary commits from destructive agent changes.
 *
 *   node bench/gate.ts [--commits N] [--mutations N] [--seed N] [--list] REPOSITORY…
 *
 * Ordinary: each commit of each repository against its first parent. Destructive: seeded mutations of real trees (see
 * gate-bench/mutations.ts). Needs no network; the repositories are only read, mutated trees live in a scratch
 * repository. Prints progress on stderr and one JSON object on the last line of stdout.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { readChange, emptyTree } from '@swarm/git/diff.ts'
import { runGate } from '@swarm/git/gate.ts'
import { git } from '@swarm/git/run.ts'
import { MUTATIONS, type Edits, type Tree } from './gate-bench/mutations.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { commits: { type: 'string', default: '100' }, mutations: { type: 'string', default: '2' }, seed: { type: 'string', default: '1' }, list: { type: 'boolean', default: false }, only: { type: 'string' } },
})
if (positionals.length === 0) {
  console.error('Give the folders of one or more git repositories.')
  process.exit(2)
}

interface Tally { total: number; flagged: number; byCode: Record<string, number> }
const human: Tally & { ms: number[] } = { total: 0, flagged: 0, byCode: {}, ms: [] }
const destructive: Record<string, { total: number; caught: number }> = {}
const random = seeded(Number(values.seed))

for (const folder of positionals) {
  const repo = resolve(folder)
  if (values.only !== 'destructive') await judgeCommits(repo)
  if (values.only !== 'human') await judgeMutations(repo)
}

const destroyed = Object.values(destructive)
const total = destroyed.reduce((sum, each) => sum + each.total, 0)
const caught = destroyed.reduce((sum, each) => sum + each.caught, 0)
const sorted = human.ms.toSorted((a, b) => a - b)
console.log(JSON.stringify({
  repositories: positionals.length,
  human: { commits: human.total, flagged: human.flagged, flaggedShare: share(human.flagged, human.total), byCode: human.byCode, p50Ms: Math.round(sorted[Math.floor(sorted.length / 2)] ?? 0), p99Ms: Math.round(sorted[Math.floor(sorted.length * 0.99)] ?? 0) },
  destructive: { changes: total, caught, caughtShare: share(caught, total), byKind: destructive },
}))

async function judgeCommits(repo: string): Promise<void> {
  const { stdout } = await git(repo, ['rev-list', '--parents', `--max-count=${values.commits}`, 'HEAD'])
  for (const row of stdout.trim().split('\n')) {
    const [commit, parent] = row.split(' ')
    if (!commit || !parent) continue
    const started = performance.now()
    const result = await runGate(repo, parent, commit, { exactBase: true })
    human.ms.push(performance.now() - started)
    const codes = new Set(result.findings.filter((each) => each.severity === 'error').map((each) => each.code))
    if (codes.has('empty_diff')) continue
    human.total++
    if (codes.size > 0) human.flagged++
    for (const code of codes) human.byCode[code] = (human.byCode[code] ?? 0) + 1
    if (values.list && codes.size > 0) for (const each of result.findings.filter((one) => one.severity === 'error')) console.error(`H ${basename(repo)} ${commit.slice(0, 10)} ${each.code} ${each.path}:${each.line} ${each.message}`)
  }
  console.error(`${basename(repo)}: ${human.flagged} of ${human.total} commits flagged so far`)
}

async function judgeMutations(repo: string): Promise<void> {
  const scratch = await mkdtemp(join(tmpdir(), 'swarm-bench-gate-'))
  try {
    await git(scratch, ['clone', '-q', '--bare', '--shared', repo, 'r.git'])
    const store = join(scratch, 'r.git')
    const { stdout } = await git(store, ['rev-list', '--max-count=200', 'HEAD'])
    const commits = stdout.trim().split('\n')
    for (let round = 0; round < Number(values.mutations); round++) {
      const commit = commits[Math.floor(random() * commits.length)] as string
      const tree = await readTree(store, commit)
      for (const mutation of MUTATIONS) {
        const edits = mutation.apply(tree, random)
        if (edits === null) continue
        const head = await write(store, commit, edits, join(scratch, 'index'))
        const scope = mutation.scope?.(edits)
        const result = await runGate(store, `${commit}^{tree}`, head, { exactBase: true, ...(scope ? { scope } : {}) })
        const tally = (destructive[mutation.name] ??= { total: 0, caught: 0 })
        tally.total++
        if (!result.clean) tally.caught++
        else if (values.list) console.error(`D ${basename(repo)} ${commit.slice(0, 10)} ${mutation.name} ${[...edits.keys()].join(' ')} | ${result.findings.map((each) => `${each.code}: ${each.message}`).join('; ').slice(0, 200)}`)
      }
    }
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}

async function readTree(repo: string, commit: string): Promise<Tree> {
  const { files } = await readChange(repo, await emptyTree(repo), commit)
  return new Map(files.flatMap((file) => (file.after?.text != null && file.after.mode.startsWith('100') ? [[file.path, file.after.text] as const] : [])))
}

async function write(repo: string, commit: string, edits: Edits, index: string): Promise<string> {
  const env = { GIT_INDEX_FILE: index }
  await git(repo, ['read-tree', commit], { env })
  for (const [path, content] of edits) {
    if (content === null) await git(repo, ['update-index', '-z', '--index-info'], { env, input: `0 ${'0'.repeat(40)}\t${path}\0` })
    else {
      const id = (await git(repo, ['hash-object', '-w', '--stdin'], { input: content })).stdout.trim()
      await git(repo, ['update-index', '--add', '--cacheinfo', `100644,${id},${path}`], { env })
    }
  }
  return (await git(repo, ['write-tree'], { env })).stdout.trim()
}

function share(part: number, whole: number): number {
  return whole === 0 ? 0 : Math.round((part / whole) * 10_000) / 10_000
}

/** mulberry32: small, seeded, good enough to choose files with. */
function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}
