import { parseArgs } from 'node:util'
import { readScript, RehearsalScriptError } from './script.ts'
import { startRehearsal } from './server.ts'

/* node packages/testkit/rehearsal/main.ts --script FILE [--port 0] [--log FILE]: serves until SIGTERM or SIGINT. */

const { values } = parseArgs({ options: { script: { type: 'string' }, port: { type: 'string', default: '0' }, log: { type: 'string' } } })
const port = Number(values.port)
if (!values.script || !Number.isInteger(port) || port < 0 || port > 65_535) {
  process.stderr.write('usage: node packages/testkit/rehearsal/main.ts --script FILE [--port 0-65535] [--log FILE]\n')
  process.exit(2)
}
try {
  const rehearsal = await startRehearsal({ script: await readScript(values.script), port, ...(values.log === undefined ? {} : { logFile: values.log }) })
  process.stdout.write(`${JSON.stringify({ ready: true, url: rehearsal.url })}\n`)
  const stop = (): void => {
    void rehearsal[Symbol.asyncDispose]().then(() => process.exit(0))
  }
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
} catch (error) {
  if (!(error instanceof RehearsalScriptError) && !(error instanceof Error && 'code' in error)) throw error
  process.stderr.write(`${error.message}\n`)
  process.exit(1)
}
