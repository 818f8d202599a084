import { createHash } from 'node:crypto'
import type { AgentDefinition } from '@swarm/contract/endpoints/agents.ts'
import type { ProjectSettings } from '@swarm/contract/endpoints/projects.ts'
import type { Upcoming, VmLimits } from '@swarm/contract/runner-protocol.ts'
import { tightestLimits } from '@swarm/core/checks/limits.ts'
import { DEFAULT_LIMITS } from '@swarm/core/checks/plan.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Read } from '../../db/database.ts'
import type { RepositoryAccess, WorkInputs } from '../../ports.ts'
import { openWork } from './queries.ts'

/** Pairs of repository and agent that are looked at: each look reads a commit, and a host has not room for more templates anyway. */
const MOST = 20

export interface UpcomingDependencies {
  readonly read: Read
  readonly repositories: Pick<RepositoryAccess, 'head' | 'workPlan'>
  readonly inputs: Pick<WorkInputs, 'image'>
  readonly defaults: VmLimits
  /** What the project of a repository lets a microVM have at most. */
  ceilings(repositoryId: string): Promise<ProjectSettings['vm']>
  /** The newest version of an agent; null when it is gone. */
  agent(name: string): Promise<AgentDefinition | null>
}

/**
 * The images and sizes that attempts and checks of open tickets will start from, as main is now, without those that are known. A repository
 * whose swarm.yml cannot be read is passed over: whoever claims work of it is told.
 */
export async function upcomingWork(deps: UpcomingDependencies, known: ReadonlySet<string>): Promise<Upcoming[]> {
  const found = new Map<string, Upcoming>()
  for (const { repositoryId, agent } of await openWork(deps.read, MOST)) {
    const definition = await deps.agent(agent)
    try {
      const plan = await deps.repositories.workPlan(repositoryId, await deps.repositories.head(repositoryId))
      const ceilings = await deps.ceilings(repositoryId)
      const { memoryMb: checkMemoryMb = DEFAULT_LIMITS.memoryMb, diskMb: checkDiskMb = DEFAULT_LIMITS.diskMb } = plan.limits
      const ofChecks = tightestLimits(deps.defaults, { memoryMb: checkMemoryMb, diskMb: checkDiskMb }, ceilings)
      for (const { memoryMb, diskMb } of [...definition === null ? [] : [tightestLimits(deps.defaults, plan.limits, definition.vm, ceilings)], ofChecks]) {
        const digest = createHash('sha256').update(JSON.stringify([plan.image.packages, plan.image.npm, plan.image.files ?? [], memoryMb, diskMb])).digest('hex')
        if (!known.has(digest) && !found.has(digest)) found.set(digest, { digest, image: await deps.inputs.image(repositoryId, plan.image), memoryMb, diskMb })
      }
    } catch (error) {
      if (!(error instanceof DomainError)) throw error
    }
  }
  return [...found.values()]
}
