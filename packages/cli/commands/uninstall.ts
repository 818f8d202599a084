import { confirm, isCancel } from '@clack/prompts'
import { existsSync, lstatSync, readdirSync, readlinkSync, rmSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { command } from '../command.ts'
import { CHECKOUT } from '../config.ts'
import { Interrupted, UserError } from '../errors.ts'
import { size } from '../io.ts'
import { hostCommand } from '../platform/host-command.ts'
import { Leftovers } from '../platform/leftovers.ts'
import { readRunFile } from '../platform/run-file.ts'

/** What Swarm itself writes into its folders; nothing else in them is ever removed. */
const HOME_PARTS = ['admin-token', 'blobs', 'config.yml', 'credentials.json', 'demo', 'demo.previous', 'evidence', 'keys', 'logs', 'outbox', 'repositories', 'run', 'runner', 'setup-link', 'swarm.sqlite', 'swarm.sqlite-wal', 'swarm.sqlite-shm', 'telemetry.sqlite', 'telemetry.sqlite-wal', 'telemetry.sqlite-shm', 'backups']
const CACHE_PARTS = ['images', 'probes']

export const uninstall = command({
  name: 'uninstall',
  summary: 'Removes images, templates and other things that can be made again; lists what remains',
  description: 'Repositories, the database and settings stay unless --data says otherwise. A database in PostgreSQL is never touched.',
  examples: [['swarm uninstall', 'lists what there is, and asks'], ['swarm uninstall --yes', 'removes what can be made again'], ['swarm uninstall --data --yes', 'removes everything, work included']],
  options: [{ flags: '--yes', description: 'do not ask' }, { flags: '--data', description: 'the home folder too: repositories, database, keys, evidence' }],
  input: z.object({ yes: z.boolean().default(false), data: z.boolean().default(false) }),
  async run({ yes, data }, { io, settings, signal }) {
    const { home, cache } = settings().config
    for (const folder of [home, join(home, 'demo')]) {
      const live = readRunFile(folder)
      if (live) throw new UserError('already_running', `A platform runs on ${folder} (${live.url}, process ${live.pid}).`, 'Stop it first with "swarm stop" (or Ctrl-C where it runs).')
    }
    const left = await hostCommand('leftovers', Leftovers, { signal })
    const links = [join(homedir(), '.local', 'bin', 'swarm')].filter((path) => lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true && readlinkSync(path) === join(CHECKOUT, 'swarm'))
    const parts = (folder: string, names: readonly string[]): string[] => names.map((name) => join(folder, name)).filter((path) => existsSync(path))
    const removable = [...parts(cache, CACHE_PARTS), ...left.templates.map(({ directory }) => directory), ...links]
    // Including what "swarm restore --force" moved aside.
    const kept = parts(home, [...HOME_PARTS, ...(existsSync(home) ? readdirSync(home).filter((name) => name.startsWith('replaced-')).sort() : [])])
    for (const path of removable) io.say(`  can be made again: ${path} (${size(bytesOf(path))})`)
    for (const path of kept) io.say(`  ${data ? io.style('red', 'your work, to be removed') : 'your work, stays'}: ${path} (${size(bytesOf(path))})`)
    const doomed = [...removable, ...(data ? kept : [])]
    if (doomed.length === 0) return { json: { removed: [], remains: kept }, text: kept.length === 0 ? 'Nothing of Swarm is left, but this checkout.' : 'Nothing to remove; --data removes your work too.' }
    if (!yes) {
      if (!io.interactive) throw new UserError('not_confirmed', `${doomed.length} things would be removed, and nobody is here to agree.`, 'Say --yes to remove them.')
      const agreed = await confirm({ message: `Remove ${doomed.length} things?`, initialValue: false, output: process.stderr, signal })
      if (isCancel(agreed) || !agreed) throw new Interrupted('SIGINT')
    }
    await hostCommand('reclaim', z.unknown(), { signal })
    const { inUse } = await hostCommand('image-remove', z.object({ inUse: z.array(z.string()) }), { signal })
    for (const path of [...links, ...parts(cache, CACHE_PARTS), ...(data ? kept : [])]) rmSync(path, { recursive: true, force: true })
    for (const folder of [cache, ...(data ? [home] : [])]) if (existsSync(folder) && readdirSync(folder).length === 0) rmSync(folder, { recursive: true })
    const remains = [...doomed, ...kept].filter((path) => existsSync(path))
    return {
      json: { removed: doomed.filter((path) => !existsSync(path)), remains },
      text: [`Removed ${doomed.length - remains.filter((path) => doomed.includes(path)).length} things.`, ...remains.map((path) => `  remains: ${path}${inUse.includes(path) ? ' (in use by another installation)' : ''}`), `  remains: ${CHECKOUT} (this checkout), and the distribution's packages`].join('\n'),
    }
  },
})

/** Disk space of a file or a folder, links not followed. */
function bytesOf(path: string): number {
  const about = lstatSync(path, { throwIfNoEntry: false })
  if (!about) return 0
  return about.isDirectory() ? readdirSync(path).reduce((sum, name) => sum + bytesOf(join(path, name)), 0) : (statSync(path, { throwIfNoEntry: false })?.blocks ?? 0) * 512
}
