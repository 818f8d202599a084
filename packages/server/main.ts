import { DomainError } from '@swarm/core/errors.ts'
import { createServer } from './app.ts'
import { loadConfig } from './config.ts'

/*
 * The server process. Prints one line on stdout when it serves: {"ready":true,"url":"http://…"}. SIGTERM and SIGINT stop
 * it cleanly (exit 0), a second one at once. What keeps it from starting is one line of JSON on stderr, exit 1.
 */

async function main(): Promise<void> {
  const stop = new Promise<void>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) {
      process.once(name, () => {
        resolve()
        process.once(name, () => process.exit(130))
      })
    }
  })
  const { config } = loadConfig()
  await using server = await createServer(config, { processMetrics: true })
  const url = await server.listen()
  server.context.logger.info({ url }, 'serving')
  process.stdout.write(`${JSON.stringify({ ready: true, url })}\n`)
  await stop
  server.context.logger.info('stopping')
}

function explain(error: unknown): void {
  const known = error instanceof DomainError
  const body = known
    ? { code: error.code, message: error.message, remedy: error.remedy, details: error.details }
    : { code: 'internal', message: error instanceof Error ? error.stack ?? error.message : String(error), remedy: 'This is a fault of Swarm.', details: {} }
  process.stderr.write(`${JSON.stringify({ ready: false, error: body })}\n`)
}

try {
  await main()
} catch (error) {
  explain(error)
  process.exitCode = 1
}
