import { CEILING_KINDS, type BudgetUnit } from '@swarm/core/budgets/reserve.ts'
import { z } from 'zod'
import { endpoint, inParams } from '../endpoint.ts'

/** One unit of a budget: micro-dollars, or input and output tokens together. `cap` and `left` are null where there is no ceiling. */
const Amount = z.object({ cap: z.number().int().nullable(), spent: z.number().int(), reserved: z.number().int(), left: z.number().int().nullable() })

export const Budget = z.object({ kind: z.enum(CEILING_KINDS), id: z.string(), name: z.string(), microUsd: Amount, tokens: Amount })
export type Budget = z.infer<typeof Budget>

export const listBudgets = endpoint({
  method: 'GET', path: '/api/usage/budgets/:projectId', access: ['person'], action: 'usage:read', on: inParams('project', 'projectId'), tag: 'usage',
  summary: 'Ceilings of a project, its sessions and its tickets, with what was spent, is set aside and is left',
  params: z.object({ projectId: z.string() }), response: z.object({ items: z.array(Budget) }),
})
const Cap = z.number().int().min(0).nullable().optional()
export const setBudget = endpoint({
  method: 'PUT', path: '/api/usage/budgets/:kind/:id', access: ['person'], action: 'budget:edit', on: inParams({ named: 'kind' }, 'id'), tag: 'usage',
  summary: 'Sets a ceiling (null: none); what stopped at a lower one goes on, and what was asked about it is void',
  params: z.object({ kind: z.enum(['project', 'session', 'ticket']), id: z.string() }),
  body: z.object({ maxCostMicroUsd: Cap, maxTokens: Cap }), response: Budget,
})
export const CAP_FIELD = { micro_usd: 'maxCostMicroUsd', tokens: 'maxTokens' } as const satisfies Record<BudgetUnit, string>
