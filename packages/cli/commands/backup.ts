import { z } from 'zod'
import { command } from '../command.ts'
import { userPath } from '../config.ts'
import { duration, size } from '../io.ts'
import { hostCommand } from '../platform/host-command.ts'

const Made = z.object({
  file: z.string(), bytes: z.number(), createdAt: z.number(), migrations: z.array(z.string()), counts: z.record(z.string(), z.number()), repositories: z.number(), realigned: z.array(z.string()), wallMs: z.number(),
})

export const backup = command({
  name: 'backup',
  summary: 'Writes the whole installation to one file, while it runs',
  description: 'Database, repositories, blobs, keys, the admin token and settings, as they are at one moment; logs and what can be made again\nare left out. The file is as secret as the home folder.',
  examples: [['swarm backup', 'into the folder backups of the home folder'], ['swarm backup /mnt/disk', 'into a folder on another disk'], ['swarm backup ~/swarm.tar.gz --json', 'to this file; the last line for programs']],
  arguments: [{ name: 'to', description: 'file to make, or a folder to make it in', optional: true }],
  input: z.object({ to: z.string().min(1).optional() }),
  async run({ to }, { io, signal, settings }) {
    const { home } = settings().config
    const made = await hostCommand('backup', Made, {
      of: 'server', args: to === undefined ? [] : ['--file', userPath(to)], env: { SWARM_HOME: home }, signal,
      onProgress: ({ phase, detail }) => { io.status(`backup: ${phase}: ${detail}`) },
    })
    return {
      json: made,
      text: `Backed up to ${made.file} (${size(made.bytes)}, ${duration(made.wallMs)}): ${made.repositories} repositories, ${made.counts['tickets'] ?? 0} tickets, ${made.counts['events'] ?? 0} events, ${made.counts['blobs'] ?? 0} blobs.\n"swarm restore ${made.file}" restores it into an empty home folder.`,
    }
  },
})
