import { text } from 'node:stream/consumers'
import { HostAudit, type IntegrityReport } from '@swarm/contract/integrity.ts'
import { mergePrices } from '@swarm/core/budgets/prices.ts'
import { loadConfig } from '../config.ts'
import { checkRecords } from '../features/integrity/integrity.ts'
import type { CommandOptions } from './main.ts'
import { repairRecords } from './repair.ts'

/** The checker; what the runner's `audit` found of this host's processes comes on stdin (contract/integrity.ts HostAudit). */
export async function check(options: CommandOptions): Promise<IntegrityReport> {
  const { config } = loadConfig()
  const host = HostAudit.parse(JSON.parse(await text(process.stdin)))
  const input = { home: config.home, databaseUrl: config.databaseUrl?.reveal(), modelLog: options['model-log'], prices: mergePrices(config.model.prices), settled: options.settled === true }
  const report = await checkRecords(input, host)
  if (options.repair !== true) return report
  const repairs = await repairRecords(input, report)
  return { ...repairs.some(({ done }) => done) ? await checkRecords(input, host) : report, repairs }
}
