import type { CallUsage } from '@swarm/core/budgets/reserve.ts'
import { Counter, type Registry } from 'prom-client'

/** Counters of model calls. */
export interface ModelMetrics {
  call(ended: { provider: string; model: string; status: number; costMicroUsd: number; usage: CallUsage | null }): void
}

export function createModelMetrics(registry: Registry): ModelMetrics {
  const registers = [registry]
  const calls = new Counter({ name: 'swarm_model_calls_total', help: 'Model calls that ended, by HTTP status (0: none came)', labelNames: ['provider', 'model', 'status'], registers })
  const tokens = new Counter({ name: 'swarm_model_tokens_total', help: 'Tokens that the provider reported', labelNames: ['provider', 'model', 'kind'], registers })
  const cost = new Counter({ name: 'swarm_model_cost_micro_usd_total', help: 'Recorded cost in micro-dollars, estimates of cut calls included', labelNames: ['provider', 'model'], registers })
  return {
    call({ provider, model, status, costMicroUsd, usage }) {
      calls.inc({ provider, model, status })
      cost.inc({ provider, model }, costMicroUsd)
      if (!usage) return
      tokens.inc({ provider, model, kind: 'input' }, usage.inputTokens)
      tokens.inc({ provider, model, kind: 'output' }, usage.outputTokens)
      tokens.inc({ provider, model, kind: 'cache_read' }, usage.cacheReadTokens)
      tokens.inc({ provider, model, kind: 'cache_write' }, usage.cacheWrite5mTokens + usage.cacheWrite1hTokens)
    },
  }
}
