import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { gitEnvironment } from '@swarm/git/run.ts'
import type { Database } from '@swarm/server/db/database.ts'
import { createApprovals, type ApprovalService } from '@swarm/server/features/approvals/service.ts'
import { createDesign, type DesignService } from '@swarm/server/features/design/service.ts'
import { createTicketCommands } from '@swarm/server/features/tickets/commands.ts'
import { createReplan } from '@swarm/server/features/tickets/replan.ts'
import { newId } from '@swarm/server/ids.ts'

export interface DesignStage extends AsyncDisposable { readonly design: DesignService; readonly approvals: ApprovalService; readonly errors: unknown[] }

/** The design feature with the real approvals and tickets features beside it, and a model at a URL. */
export function designStage(db: Database, repositoryPath: string, modelUrl: string): DesignStage {
  const errors: unknown[] = []
  const approvals = createApprovals({ now: Date.now, makeId: newId })
  const tickets = createTicketCommands({ now: Date.now, random: Math.random, makeId: newId })
  const design = createDesign({
    db, now: Date.now, makeId: newId, model: 'designer-model', modelLabel: 'rehearsal', approvals, defaultAgent: 'coder', agents: async () => ['coder'],
    tickets: { createMany: tickets.createMany, replan: createReplan({ now: Date.now }, tickets.createMany) }, concurrency: async () => 8,
    repository: async () => ({ path: repositoryPath, slug: 'app', projectId: 'PRJ-1', defaultBranch: 'main' }),
    checks: async () => [{ name: 'test', command: 'node --test' }],
    callModel: async (request, { signal }) => {
      const response = await fetch(modelUrl, { method: 'POST', headers: { 'x-api-key': 'none', 'anthropic-version': '2023-06-01', 'content-type': 'application/json' }, body: JSON.stringify(request), signal })
      if (!response.ok) throw new Error(`the model answered ${response.status}: ${await response.text()}`)
      return response.json()
    },
    onError: (error) => { errors.push(error) },
  })
  return { design, approvals, errors, [Symbol.asyncDispose]: () => design[Symbol.asyncDispose]() }
}

/** Rows that a session refers to. */
export async function seedProject(db: Database): Promise<void> {
  await db.write(async (trx) => {
    await trx.insertInto('projects').values({ id: 'PRJ-1', slug: 'p', name: 'p', settings: '{}', created_at: 1 }).execute()
    await trx.insertInto('repositories').values({ id: 'REP-1', project_id: 'PRJ-1', slug: 'app', default_branch: 'main', origin: null, created_at: 1 }).execute()
  })
}

/** A bare repository below `folder` whose main holds these files; without files it has no commit. */
export function bareRepository(folder: string, files: Readonly<Record<string, string>> | null): string {
  const work = join(folder, 'work')
  const bare = join(folder, 'app.git')
  const git = (cwd: string, ...args: string[]): void => {
    execFileSync('git', args, { cwd, env: { ...gitEnvironment(), GIT_AUTHOR_NAME: 't', GIT_AUTHOR_EMAIL: 't@example.org', GIT_COMMITTER_NAME: 't', GIT_COMMITTER_EMAIL: 't@example.org' }, stdio: 'pipe' })
  }
  mkdirSync(work, { recursive: true })
  git(folder, 'init', '-q', '--bare', '-b', 'main', bare)
  if (files === null) return bare
  git(work, 'init', '-q', '-b', 'main')
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(work, path)), { recursive: true })
    writeFileSync(join(work, path), text)
  }
  git(work, 'add', '-A')
  git(work, 'commit', '-q', '--allow-empty', '-m', 'start')
  git(work, 'push', '-q', bare, 'main')
  return bare
}

/** A spec with this many requirements of ordinary length. */
export function longSpec(count: number): string {
  const words = 'The ledger keeps every entry that a member books and shows the sum of it to all who may read that account, also after a reload.'
  return `# Ledger\n\nA shared ledger.\n\n## Requirements\n${Array.from({ length: count }, (_, index) => `- R${index + 1} Number ${index + 1}: ${words}`).join('\n')}\n\n## Constraints\n- Plain JavaScript modules, no framework.\n\n## Acceptance\n- \`node --test\` passes.\n`
}
