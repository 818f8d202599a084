import { z } from 'zod'
import { command } from '../command.ts'
import { userPath } from '../config.ts'
import { UserError } from '../errors.ts'
import { readableFile } from '../run/inputs.ts'
import { firstSignIn } from '../platform/credentials.ts'
import { startPlatform } from '../platform/platform.ts'

export const up = command({
  name: 'up',
  summary: 'Runs the whole platform in the foreground until Ctrl-C',
  description: 'Server, coordinator and one local runner, on a database in the home folder. Nothing has to be installed as a service.',
  examples: [['swarm up', 'on port 8080'], ['swarm up --port 9000', 'on another port'], ['swarm up --rehearsal script.yml', 'with the rehearsal model, which plays a script']],
  options: [
    { flags: '--port <number>', description: 'port of the server; 0: any free one' },
    { flags: '--rehearsal <file>', description: 'script that the rehearsal model plays instead of Claude' },
    { flags: '--no-runner', description: 'server only: other hosts do the work' },
  ],
  input: z.object({ port: z.coerce.number('give a number').int().min(0).max(65_535).optional(), rehearsal: z.string().optional(), runner: z.boolean().default(true) }),
  async run({ port, rehearsal, runner }, { io, signal, settings }) {
    const { config } = settings()
    if (rehearsal !== undefined) await readableFile(userPath(rehearsal), 'The rehearsal script')
    io.status('starting')
    // `swarm start` waits for the word that it runs, and then leaves it alone.
    const tell = (message: object): void => { process.send?.(message) }
    try {
      await using platform = await startPlatform({
        config, signal, runner, ...(port === undefined ? {} : { port }), ...(rehearsal === undefined ? {} : { rehearsalScript: userPath(rehearsal) }), onNotice: (line) => { io.say(line) },
      })
      io.status(null)
      for (const line of [
        `Swarm runs at ${io.style('bold', platform.url)}${platform.model === 'rehearsal' ? ' (model: REHEARSAL, it plays a script)' : ''}`,
        `  API reference   ${platform.url}/reference`,
        `  microVMs        ${platform.driver ?? 'no runner on this host'}`,
        `  data            ${config.home}`,
        '  look around     swarm ticket list · swarm approval list · swarm vm list',
        '  stop            Ctrl-C, or swarm stop',
        ...firstSignIn(config.home, io.interactive),
      ]) io.say(line)
      tell({ ready: true, url: platform.url })
      const stopped = new Promise<null>((resolve) => { signal.addEventListener('abort', () => { resolve(null) }, { once: true }) })
      const broken = await Promise.race([stopped, platform.broken])
      if (broken) throw broken
      io.say('stopping: work in progress is saved and given back')
      return { json: { url: platform.url, stopped: true }, text: 'stopped' }
    } catch (error) {
      if (error instanceof UserError) tell({ ready: false, error: { code: error.code, message: error.message, remedy: error.remedy, exitCode: error.exitCode } })
      throw error
    }
  },
})
