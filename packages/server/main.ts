import { programFailure } from '@swarm/contract/program-failure.ts'
import { createServer } from './app.ts'
import { loadConfig } from './config.ts'
import { useOutgoing } from './outgoing.ts'

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
  const { config, sources } = loadConfig()
  useOutgoing(config)
  await using server = await createServer(config, { sources, processMetrics: true })
  const url = await server.listen()
  server.context.logger.info({ url }, 'serving')
  process.stdout.write(`${JSON.stringify({ ready: true, url })}\n`)
  await stop
  server.context.logger.info('stopping')
}

try {
  await main()
} catch (error) {
  process.stderr.write(`${JSON.stringify({ ready: false, error: programFailure(error) })}\n`)
  process.exitCode = 1
}
