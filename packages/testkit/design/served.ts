import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Client } from '@swarm/contract/client.ts'
import { decideApproval, listApprovals, type Approval } from '@swarm/contract/endpoints/approvals.ts'
import { showSession, type DesignSessionDetail } from '@swarm/contract/endpoints/design.ts'
import { ApiError } from '@swarm/contract/errors.ts'
import type { Database } from '@swarm/server/db/database.ts'
import type { TestDatabase } from '@swarm/server/db/testing.ts'
import { registerApprovals } from '@swarm/server/features/approvals/approvals.ts'
import { registerDesignRoutes } from '@swarm/server/features/design/routes.ts'
import type { DesignService } from '@swarm/server/features/design/service.ts'
import { startTestServer } from '@swarm/server/testing.ts'
import { diligent, startDesignerModel, type DesignerAnswer, type DesignerCall, type DesignerModel } from './designer-model.ts'
import { bareRepository, designStage, type DesignStage, seedProject } from './stage.ts'

export interface ServedDesign extends AsyncDisposable {
  readonly admin: Client
  readonly stranger: Client
  readonly db: Database
  readonly design: DesignService
  readonly model: DesignerModel
  readonly errors: readonly unknown[]
  /** The session once nothing more happens without a person. */
  settled(sessionId: string): Promise<DesignSessionDetail>
  /** Decides the open approval of this kind, and gives what was decided. */
  decide(kind: string, decision: 'approved' | 'rejected' | 'revision_requested', reason?: string): Promise<Approval>
}

/** The design and approvals features behind a real server, on a project with one repository, and a model that is a function or serves at a URL. */
export async function serveDesign(make: () => Promise<TestDatabase>, answer: ((call: DesignerCall, servedBefore: number) => DesignerAnswer) | { url: string }, files: Readonly<Record<string, string>> = { 'README.md': '# new\n' }): Promise<ServedDesign> {
  const stack = new AsyncDisposableStack()
  const folder = mkdtempSync(join(tmpdir(), 'swarm-design-'))
  stack.defer(() => rmSync(folder, { recursive: true, force: true }))
  const model = stack.use(await startDesignerModel(typeof answer === 'function' ? answer : diligent))
  const url = typeof answer === 'function' ? model.url : answer.url
  const repository = bareRepository(folder, files)
  let stage: DesignStage | undefined
  const server = stack.use(await startTestServer(stack.use(await make()), {
    // The feature by itself, with a model of the test's own.
    shipped: [], features: [(context) => {
      stage = designStage(context.db, repository, url)
      registerApprovals(context, stage.approvals)
      registerDesignRoutes(context.http, { db: context.db, design: stage.design })
      return stage
    }],
  }))
  await seedProject(server.context.db)
  if (!stage) throw new Error('the feature was not made')
  const { design, errors } = stage
  const { admin } = server
  return {
    admin, stranger: server.as(), db: server.context.db, design, model, errors,
    async settled(sessionId) {
      await design.idle()
      return admin.call(showSession, { params: { sessionId } })
    },
    async decide(kind, decision, reason = '') {
      const { items } = await admin.call(listApprovals, { query: { status: 'pending' } })
      const open = items.find((each) => each.kind === kind)
      if (!open) throw new Error(`no open approval of kind ${kind}, but ${items.map((each) => each.kind).join() || 'none'}`)
      await admin.call(decideApproval, { params: { approvalId: open.id }, body: { decision, payloadHash: open.payloadHash, reason } })
      return open
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

/** How a call was refused. @throws when it was not */
export function refusal(promise: Promise<unknown>): Promise<{ status: number; code: string }> {
  return promise.then(
    () => { throw new Error('it was accepted') },
    (error: unknown) => { if (error instanceof ApiError) return { status: error.status, code: error.code }; throw error },
  )
}
