import { z } from 'zod'
import { command } from '../command.ts'
import { userPath } from '../config.ts'
import { duration, time } from '../io.ts'
import { hostCommand } from '../platform/host-command.ts'
import { tryLock } from '../platform/lock.ts'
import { alreadyRunning } from '../platform/platform.ts'
import { lockPathOf } from '../platform/run-file.ts'

const Restored = z.object({
  home: z.string(), file: z.string(), createdAt: z.number().nullable(), migrations: z.array(z.string()), counts: z.record(z.string(), z.number()), repositories: z.number().nullable(), aside: z.string().nullable(), wallMs: z.number(),
})

export const restore = command({
  name: 'restore',
  summary: 'Restores a backup into the home folder',
  description: 'Everything is verified before anything changes, and nothing is ever deleted: with --force, what the home folder holds is\nmoved aside. Takes a file of "swarm backup", or a database alone that was kept before a migration.',
  examples: [['SWARM_HOME=~/restored swarm restore swarm.tar.gz', 'into a new home folder'], ['swarm restore swarm.tar.gz --force', 'instead of what is there, which is kept aside']],
  arguments: [{ name: 'file', description: 'the backup' }],
  options: [{ flags: '--force', description: 'although the home folder is not empty: what is there is moved aside' }],
  input: z.object({ file: z.string().min(1), force: z.boolean().default(false) }),
  async run({ file, force }, { io, signal, settings }) {
    const { home } = settings().config
    await using lock = await tryLock(lockPathOf(home))
    if (lock === null) throw alreadyRunning(home)
    const restored = await hostCommand('restore', Restored, {
      of: 'server', args: ['--file', userPath(file), ...(force ? ['--force'] : [])], env: { SWARM_HOME: home }, signal,
      onProgress: ({ phase, detail }) => { io.status(`restore: ${phase}: ${detail}`) },
    })
    return {
      json: restored,
      text: [
        `Restored ${restored.repositories === null ? 'the database' : `${restored.repositories} repositories, ${restored.counts['tickets'] ?? 0} tickets and ${restored.counts['events'] ?? 0} events`} into ${home}${restored.createdAt === null ? '' : ` as they were on ${time(restored.createdAt)}`} (${duration(restored.wallMs)}).`,
        ...(restored.aside === null ? [] : [`What was there is in ${restored.aside}.`]), '"swarm start" goes on from there.',
      ].join('\n'),
    }
  },
})
