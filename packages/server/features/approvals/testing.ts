import type { Database } from '../../db/database.ts'
import { newId } from '../../ids.ts'
import { approvalById } from './queries.ts'
import { createApprovals, type ApprovalRow, type ApprovalService } from './service.ts'

export type Decision = Parameters<ApprovalService['decide']>[1]['decision']

/** The approvals of one subject, with actions that note what they did. */
export function approvalWorld(db: Database) {
  const approvals = createApprovals({ now: Date.now, makeId: newId })
  const done: string[] = []
  let failing = false
  for (const kind of ['build_start', 'merge']) {
    approvals.onDecision(kind, {
      async approved(_, approval) {
        if (failing) {
          failing = false
          throw new Error('the action failed')
        }
        done.push(`approved ${approval.id}`)
      },
      async rejected(_, approval) { done.push(`${approval.status} ${approval.id}`) },
    })
  }
  const row = async (id: string): Promise<ApprovalRow> => {
    const found = await approvalById(db.read, id)
    if (!found) throw new Error(`no approval ${id}`)
    return found
  }
  return {
    done, row,
    failNext: (): void => { failing = true },
    request: (kind: string, payload: unknown): Promise<string> => db.write((trx) => approvals.request(trx, {
      kind, projectId: 'PRJ-1', subject: { kind: 'session', id: 'SES-1' }, requester: 'test', payload, correlationId: 'test',
    })),
    async decide(id: string, decision: Decision, given: { by?: string; payloadHash?: string } = {}): Promise<ApprovalRow> {
      const payloadHash = given.payloadHash ?? (await row(id)).payload_hash
      return await db.write((trx) => approvals.decide(trx, { approvalId: id, decision, payloadHash, reason: '', decidedBy: given.by ?? 'admin admin', byYesFlag: false, correlationId: 'test' }))
    },
  }
}
