import { workSecrets, type Work } from '@swarm/contract/runner-protocol.ts'
import { createEgressSecrets, type EgressSecrets } from '../egress/secrets.ts'
import type { WorkDependencies } from './machine.ts'

/** The secrets of a piece of work, from the server, for its egress proxies; null when its project has none. They stay in memory and end with the work. */
export async function fetchSecrets({ link, machines, reporter, stop, permit }: WorkDependencies, work: Work): Promise<EgressSecrets | null> {
  if (work.secrets !== true) return null
  const key = { kind: work.kind, id: work.kind === 'attempt' ? work.attemptId : work.checkId, fence: work.fence }
  const { secrets } = await link.call(workSecrets, { body: key }, stop, permit)
  return secrets.length === 0 ? null : createEgressSecrets(secrets, await machines.authority(), (id) => { reporter.secretUsed(id) })
}
