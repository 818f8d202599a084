import { IntegrityReport, type CheckInput } from '@swarm/contract/integrity.ts'
import { auditHost } from '@swarm/runner/vms/audit.ts'
import { checkRecords } from '@swarm/server/features/integrity/integrity.ts'

/** The whole checker in this process: what `swarm check` finds with two programs. */
export async function checkInstallation(input: CheckInput): Promise<IntegrityReport> {
  return IntegrityReport.parse(await checkRecords(input, auditHost(input.home, input.cache)))
}
