import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { programFailure } from '@swarm/contract/program-failure.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { startRunner } from './app.ts'
import { createMachines } from './attempts/machines.ts'
import { loadRunnerConfig } from './config.ts'
import { firecrackerSettings, selectDriver } from './drivers/select.ts'
import { createHostAdmission } from './host/host-admission.ts'
import { createRunnerLogger } from './logger.ts'
import { describeOrphan, startReclaiming } from './vms/reclaim.ts'

/*
 * The runner process: `node packages/runner/main.ts --server URL --name NAME --token-file FILE`. Prints one line on stdout
 * when it is ready for work: {"ready":true,"driver":…}. Images and templates are made when work first needs them. SIGTERM and
 * SIGINT save and give back what it holds (exit 0); a second one ends it at once, and the next start reclaims what it left.
 */

/** How often this host is searched for what dead runners left: nothing outlives its owner by more than 30 s. */
const RECLAIM_MS = 10_000

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { server: { type: 'string' }, name: { type: 'string' }, 'token-file': { type: 'string' } } })
  const { server, name, 'token-file': tokenFile } = values
  if (server === undefined || name === undefined || tokenFile === undefined) throw new DomainError('invalid_input', { problem: 'the runner needs --server, --name and --token-file', field: 'the command line' })
  const { settings, token, serverUrl } = loadRunnerConfig({ server, name, tokenFile })
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.once(signal, () => {
        resolve()
        process.once(signal, () => process.exit(130))
      })
    }
  })
  const runners = join(settings.home, 'runner')
  const logger = createRunnerLogger(settings.logLevel, settings.logTo === 'file' ? join(settings.home, 'logs', `runner-${name}.log`) : undefined, { maxBytes: settings.retention.logMb * 1024 ** 2, files: settings.retention.logFiles })
  const admission = createHostAdmission(settings, {
    relieve: async () => { await driver.letGo?.() },
  })
  admission.onProblem((problem) => { if (problem !== null) logger.warn({ problem }, 'no room for a further microVM') })
  await using driver = await selectDriver({
    driver: settings.vm.driver, cache: settings.cache, stateDir: join(runners, name), warm: settings.vm.warm, mayWarm: admission.mayWarm,
    uids: { first: settings.vm.uidFirst, count: settings.vm.uidCount }, firecracker: firecrackerSettings(settings),
    onNotice: (notice) => { logger.warn(notice) },
  })
  await using _reclaiming = startReclaiming(runners, {
    everyMs: RECLAIM_MS, onReclaimed: (orphan) => { logger.warn(describeOrphan(orphan)) }, onError: (error) => { logger.error({ err: error }, 'orphans could not be reclaimed; it is tried again') },
  })
  const machines = createMachines({
    driver, admission, settings, serverUrl, onProgress: (progress) => { logger.info(progress, 'preparing') },
    ...(settings.caFile === undefined ? {} : { ca: readFileSync(settings.caFile, 'utf8') }),
  })
  const checkSlots = Math.max(1, Math.floor(settings.concurrency / 2))
  await using runner = startRunner({ serverUrl, token: token.reveal(), machines, attemptSlots: settings.concurrency, checkSlots, ceilings: settings.vm.ceilings, beatMs: settings.lease.beatMs, logger })
  process.stdout.write(`${JSON.stringify({ ready: true, driver: driver.name, isolates: driver.isolates, unenforced: driver.unenforced })}\n`)
  await Promise.race([stopped, runner.running])
  logger.info('stopping')
}

try {
  await main()
} catch (error) {
  process.stderr.write(`${JSON.stringify({ ready: false, error: programFailure(error) })}\n`)
  process.exitCode = 1
}
