import { z } from 'zod'
import { command } from '../command.ts'
import { UserError } from '../errors.ts'
import { EXIT } from '../exit-codes.ts'
import { gone } from '../platform/processes.ts'
import { readRunFile } from '../platform/run-file.ts'

/** Longer than its parts take to save their work, ms. */
const STOP_MS = 90_000

export const stop = command({
  name: 'stop',
  summary: 'Stops the platform that runs on this home folder',
  description: 'Work in progress is saved and given back. It is no error when nothing runs.',
  examples: [['swarm stop', 'orderly; the next start goes on where this one was']],
  input: z.object({}),
  async run(_, { io, settings }) {
    const { config } = settings()
    const live = readRunFile(config.home)
    if (live === null) return { json: { stopped: false, url: null }, text: 'Nothing runs.' }
    process.kill(live.pid, 'SIGTERM')
    io.status('stopping: work in progress is saved and given back')
    if (!await gone(live, STOP_MS)) throw new UserError('stop_failed', `Process ${live.pid} still runs ${STOP_MS / 1000} s after it was told to stop.`, `Look at "swarm logs"; "kill -9 ${live.pid}" ends it at once, and the next start cleans up after it.`, EXIT.failed)
    return { json: { stopped: true, url: live.url }, text: `Stopped ${live.url}.` }
  },
})
