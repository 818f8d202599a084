import type { CallUsage } from '@swarm/core/budgets/reserve.ts'
import type { CircuitState } from '@swarm/core/model/circuit.ts'
import { Counter, Gauge, type Registry } from 'prom-client'

/** Counters of model calls, and how their provider does. */
export interface ModelMetrics {
  call(ended: { provider: string; model: string; status: number; costMicroUsd: number; usage: CallUsage | null }): void
  circuit(moved: { provider: string; model: string; state: CircuitState }): void
}

export function createModelMetrics(registry: Registry): ModelMetrics {
  const registers = [registry]
  const calls = new Counter({ name: 'swarm_model_calls_total', help: 'Model calls that ended, by HTTP status (0: none came)', labelNames: ['provider', 'model', 'status'], registers })
  const tokens = new Counter({ name: 'swarm_model_tokens_total', help: 'Tokens that the provider reported', labelNames: ['provider', 'model', 'kind'], registers })
  const cost = new Counter({ name: 'swarm_model_cost_micro_usd_total', help: 'Recorded cost in micro-dollars, estimates of cut calls included', labelNames: ['provider', 'model'], registers })
  const circuit = new Gauge({ name: 'swarm_model_circuit', help: 'Circuit breaker of a model: 0 closed, 1 half-open (one call probes), 2 open (calls wait)', labelNames: ['provider', 'model'], registers })
  return {
    circuit({ provider, model, state }) {
      circuit.set({ provider, model }, { closed: 0, half_open: 1, open: 2 }[state])
    },
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
