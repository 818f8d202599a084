import { createHash } from 'node:crypto'
import { openDatabase } from '@swarm/server/db/open.ts'
import { createModelGateway } from '@swarm/server/features/model/gateway.ts'
import { createModelMetrics } from '@swarm/server/features/model/model-metrics.ts'
import { rehearsalProvider } from '@swarm/server/features/model/providers.ts'
import { createLogger } from '@swarm/server/logger.ts'
import { createMetrics } from '@swarm/server/metrics.ts'

/* node caller.ts REHEARSAL_URL HOME [DATABASE_URL]: a process that makes one model call and waits for it; a test kills it. */

const [rehearsalUrl = '', home = '', databaseUrl = ''] = process.argv.slice(2)
const db = await openDatabase({ home, ...(databaseUrl === '' ? {} : { databaseUrl }) })
const gateway = createModelGateway({
  db, provider: rehearsalProvider(rehearsalUrl), log: createLogger('error', process.stderr), metrics: createModelMetrics(createMetrics().registry),
  keepBlob: async (bytes) => createHash('sha256').update(bytes).digest('hex'),
})
await gateway.callModel(
  { model: 'claude-opus-4-8', max_tokens: 2_000, messages: [{ role: 'user', content: 'Begin.' }] },
  { kind: 'server', projectId: 'PRJ-1', sessionId: 'SES-1', role: 'designer', step: 'skeleton', correlationId: 'corr-killed' },
  new AbortController().signal,
)
