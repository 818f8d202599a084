import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client'

/** The process's Prometheus registry and the counters of the foundation; features add theirs with `registers: [metrics.registry]`. Labels of low cardinality only. */
export interface Metrics {
  readonly registry: Registry
  readonly httpSeconds: Histogram<'method' | 'route' | 'status'>
  readonly slowUnits: Counter
  readonly liveClients: Gauge
  readonly liveSlowConsumers: Counter
}

/** @param options.process also memory, event-loop lag and garbage collection of this process (once per process) */
export function createMetrics(options: { process?: boolean } = {}): Metrics {
  const registry = new Registry()
  const registers = [registry]
  if (options.process) collectDefaultMetrics({ register: registry })
  return {
    registry,
    httpSeconds: new Histogram({
      name: 'swarm_http_request_seconds', help: 'Time from request to answer, by route pattern', labelNames: ['method', 'route', 'status'],
      buckets: [0.002, 0.01, 0.05, 0.25, 1, 5, 30], registers,
    }),
    slowUnits: new Counter({ name: 'swarm_db_slow_units_total', help: 'Units of writing that took longer than 50 ms', registers }),
    liveClients: new Gauge({ name: 'swarm_live_clients', help: 'Open live connections', registers }),
    liveSlowConsumers: new Counter({ name: 'swarm_live_slow_consumers_total', help: 'Live connections closed because they did not keep up', registers }),
  }
}
